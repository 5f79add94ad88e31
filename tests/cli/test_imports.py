"""Commands that need no agent do not import Stable-Baselines3."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rl_vae import Encoder, FrameDataset

SCRIPT = """
import json, sys
import torch
import rl_vae.analysis.score, rl_vae.analysis.scorecard, rl_vae.models.save
from rl_vae.cli import main
torch.set_num_threads(1)
rl_vae.models.save.export_onnx = lambda vae: b"left out"  # takes long, and needs no agent
for module in (rl_vae.analysis.score, rl_vae.analysis.scorecard):
    module.PROBES = ("linear",)
for arguments in json.loads(sys.argv[1]):
    main(arguments)
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert "stable_baselines3" not in loaded, arguments[0]
"""


@pytest.mark.slow
def test_show_classify_score_and_sweep_do_not_import_stable_baselines3(
    encoder: Encoder, dataset: FrameDataset, tmp_path: Path
) -> None:
    """After `show`, `classify`, `score` and `sweep`, Stable-Baselines3 is not loaded."""
    model, data = str(encoder.path), str(dataset.path)
    commands = [
        ["show", model, data, "--out", str(tmp_path / "pictures")],
        ["classify", model, data, "--out", str(tmp_path / "confusion.png"), "--epochs", "1"],
        ["score", model, data, "--stack", "1"],
        ["sweep", data, "--out", str(tmp_path / "models"), "--beta", "1", "--seed", "0"],
    ]
    commands[-1] += ["--steps", "2", "--latent-dim", "2", "--workers", "1"]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
