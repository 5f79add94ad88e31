"""agents/zoo: rl_zoo3 trains on latents with our YAML, and its enjoy program plays the agent."""

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rl_vae import FrameSpec, TrainConfig, VAEConfig, collect_frames, train_vae

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "agents" / "zoo" / "ppo.yml"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("rl_zoo3") is None,
    reason="rl_zoo3 is not installed; the extra zoo brings it",
)


def run(folder: Path, program: str, env_id: str, *arguments: str) -> str:
    """Run a program of rl_zoo3 as a user does; returns its output."""
    done = subprocess.run(
        [sys.executable, "-m", f"rl_zoo3.{program}", "--algo=ppo", f"--env={env_id}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SDL_VIDEODRIVER": "dummy"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "model", "width", "settings"),
    [
        # One LatentObservation an environment: four stacked latents. Episodes end, and are counted.
        (
            "CartPole-v1",
            "models/cartpole",
            4 * 6,
            ("--n-timesteps=256", "--eval-freq=128", "-params", "n_steps:64", "n_envs:2"),
        ),
        # VecLatent around them: three stacked latents and one action of three numbers.
        (
            "CarRacing-v3",
            "models/car",
            3 * 6 + 3,
            (
                *("--n-timesteps=64", "--eval-freq=64", "--eval-episodes=1"),
                *("--env-kwargs", "max_episode_steps:40", "-params", "n_steps:32", "n_envs:2"),
            ),
        ),
    ],
)
def test_train_and_enjoy(
    env_id: str, model: str, width: int, settings: tuple[str, ...], tmp_path: Path
) -> None:
    """rl_zoo3 trains to the end with our YAML and normalises; its enjoy program loads the agent."""
    frames = collect_frames(
        env_id, tmp_path / "data", n_frames=128, spec=FrameSpec(32, 32), workers=1, progress=False
    )
    (tmp_path / "models").mkdir()
    train_vae(
        frames, tmp_path / model, VAEConfig(latent_dim=6), TrainConfig(steps=5), progress=False
    )
    config = (f"--conf-file={CONFIG}", "--log-folder=logs", "--seed=1")
    run(tmp_path, "train", env_id, *config, *settings)
    (agent,) = (tmp_path / "logs" / "ppo").iterdir()
    assert (np.load(agent / "evaluations.npz")["timesteps"] > 0).all()
    normalised = pickle.loads((agent / env_id / "vecnormalize.pkl").read_bytes())
    assert normalised.obs_rms.mean.shape == (width,) and normalised.obs_rms.count > 50
    output = run(tmp_path, "enjoy", env_id, "--folder=logs", "--no-render", "--n-timesteps=99")
    assert "Loading running average" in output
    assert "Mean reward" in output


@pytest.mark.slow
def test_optimize(tmp_path: Path) -> None:
    """rl_zoo3 searches hyperparameters with our YAML: a trial is evaluated and does not fail."""
    frames = collect_frames(
        "CartPole-v1",
        tmp_path / "data",
        n_frames=128,
        spec=FrameSpec(32, 32),
        workers=1,
        progress=False,
    )
    (tmp_path / "models").mkdir()
    train_vae(
        frames,
        tmp_path / "models/cartpole",
        VAEConfig(latent_dim=6),
        TrainConfig(steps=5),
        progress=False,
    )
    config = (f"--conf-file={CONFIG}", "--log-folder=logs", "--seed=1")
    search = ("-optimize", "--n-trials=1", "--n-timesteps=64", "--eval-episodes=1")
    output = run(tmp_path, "train", "CartPole-v1", *config, *search, "-params", "n_envs:2")
    assert "Number of finished trials:  1" in output
    (report,) = (tmp_path / "logs" / "ppo").glob("report_*.csv")
    assert report.read_text("utf-8").count("COMPLETE") == 1
