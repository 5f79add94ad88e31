"""The programs of examples/, with small sizes: each ends and prints what it is to show.

The programs of a group share a folder, as a user's folder: some need what an earlier one made.
"""

import functools
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_ray import FakeRay
from jobs import HereExecutor
from loopback_hub import ask, loopback_hub

import rl_vae
from rl_vae.analysis.comparison import runner
from rl_vae.executors import ray_executor

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TESTED_ELSEWHERE = {"digits", "encode_images", "pictures_with_factors", "video_with_actions"}
"""Programs that tests/docs, test_encode_images.py and test_own_frames.py run."""

GROUPS = {
    "cartpole": {
        "vector_env": r"observations: \(8, 130\).*\n[1-9]\d* episodes ended, [\d,]+ decisions",
        "sb3_eval_callback": r"last evaluation of EvalCallback: \d+\nevaluated on other seeds: \d+",
        "recurrent_ppo": r"mean return \d+ before the training, \d+ after 64 steps",
        "own_encoder": r"pca +mean return \d+ after 64 steps\nnetwork +mean return \d+",
    },
    "pendulum": {
        "sac_pendulum": r"mean return -\d+",
    },
    "meet": {
        "own_game": r"mean return -?\d\.\d\d; the shortest way",
        "evaluate_saved_agent": r"(?s)best actions: -?\d.*sampled actions: .*evaluate_policy: ",
        "fine_tune_encoder": r"frozen +[\d,]+ weights .*\nfine-tuned +[\d,]+ weights",
        "compare_betas": r"(?s)\| beta1 \| 1 \|.*\| pca \| 1 \|.*the same as a page",
        "onnx_without_torch": r"mean return .*\ntorch imported: False",
        "share_on_hub": r"me/meet-vae: 8 latents, digest .*\nme/meet-agent plays own_game:Meet-v0",
    },
    "ray": {"ray_cluster": r"[\d,]+ frames, digest .*\nbeta1-seed0: distortion -?\d+"},
    "anomalies": {"anomalies_roc": r"ELBO  area 0\.\d\d, \d+% of the nines"},
    "objective": {"own_objective": r"mmd +distortion +[\d.]+, .*\nbeta +distortion +[\d.]+, KL"},
}
"""What each program prints, in the order in which the programs of a group run."""

SMALL = {
    r"FRAMES, UPDATES, STEPS = .*": "FRAMES, UPDATES, STEPS = 160, 3, 64",
    r"FRAMES, STEPS = .*": "FRAMES, STEPS = 160, 64",
    r"FRAMES, UPDATES = .*": "FRAMES, UPDATES = 64, 3",
    r"BETAS, SEEDS = .*": "BETAS, SEEDS = (1.0,), (0,)",
    r"PASSES = .*": "PASSES = 1",
    r"EPISODES = .*": "EPISODES = 2",
    r"n_steps=\d+": "n_steps=16",
    r'"n_steps": \d+': '"n_steps": 16',
    r"eval_freq=.* // n_envs": "eval_freq=8",
    r"(n_eval_)?episodes=\d+": r"\1episodes=2",
    r'"learning_starts": \d+': '"learning_starts": 16',
}
"""Patterns of sizes in the programs, and small ones."""


def in_group(name: str) -> str:
    """The code of a program, with small sizes."""
    text = (EXAMPLES / f"{name}.py").read_text()
    for pattern, small in SMALL.items():
        text = re.sub(pattern, small, text)
    return text


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server on the loopback address in place of the Hugging Face hub."""
    pytest.importorskip("huggingface_hub")
    with loopback_hub() as server:
        ask(monkeypatch, server, tmp_path / "cache")
        yield


def test_every_program_is_run() -> None:
    """Each program of examples/ is in a group, or has a test of its own; none is above 60 lines."""
    programs = {path.stem: path for path in EXAMPLES.glob("*.py")}
    assert set(programs) == {name for group in GROUPS.values() for name in group} | TESTED_ELSEWHERE
    assert max(path.read_text().count("\n") for path in programs.values()) <= 60


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of models after three updates
@pytest.mark.parametrize("group", GROUPS)
def test_the_programs_of_a_group_run(
    group: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """Each program of the group ends, and prints what it is to show."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor())
    for name in ("collect_frames", "train_agent", "evaluate_agent"):
        quick = functools.partial(getattr(rl_vae, name), workers=1)
        monkeypatch.setattr(rl_vae, name, quick)
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    monkeypatch.setattr(ray_executor, "user_modules", dict)  # those of the tests are here
    if "share_on_hub" in GROUPS[group]:
        request.getfixturevalue("hub")
    monkeypatch.setattr(sys, "argv", ["program", "me"])
    for name, printed in GROUPS[group].items():
        pytest.importorskip("sb3_contrib") if name == "recurrent_ppo" else None
        (tmp_path / f"{name}.py").write_text(in_group(name))
        if name == "onnx_without_torch":
            rl_vae.export_agent("runs/meet/agent", "runs/meet/agent.onnx")
            done = subprocess.run([sys.executable, f"{name}.py"], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            text = done.stdout
        else:
            runpy.run_path(f"{name}.py", run_name="__main__")
            text = capsys.readouterr().out
        assert re.search(printed, text), text
