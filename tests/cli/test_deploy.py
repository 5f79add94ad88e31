"""The commands for deployment: export of a model, and bench."""

import json
import re
from pathlib import Path

import little_models
import pytest
from cli_runs import run

from rl_vae.verify import verify_folder


@pytest.mark.slow
def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """export takes a model; bench prints a table with each precision, and errors with frames."""
    model, frames, agent = (
        little_models.model(),
        little_models.dataset(),
        little_models.agent("PPO"),
    )
    lower = ("--precision", "int8", "--dataset", frames)
    assert run("export", model, "--out", tmp_path / "a.onnx", *lower) == 0
    assert "error of mu on 160 frames" in capsys.readouterr().out
    assert run("export", agent, "--out", tmp_path / "b.onnx", *lower) == 2
    assert "Only a model" in capsys.readouterr().err
    assert run("bench", model, "--dataset", frames, "--json", tmp_path / "figures.json") == 0
    table = capsys.readouterr().out
    assert (
        len(re.findall(r"(?:frames|raw images) +(?:float32|float16|int8)( +[\d,]+){4}", table)) >= 6
    )
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert figures["raw_images_int8_1_8"] > 0 and figures["float16_relative"] < 0.01
    assert not verify_folder(model, progress=False).findings
