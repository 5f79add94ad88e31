"""The complete pipeline by its commands, on environments of other packages."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_vae.agents.agent import Agent
from rl_vae.cli import main
from rl_vae.data.dataset import FrameDataset
from rl_vae.models.encoder import Encoder

# What each environment asks of this process and of its workers: its extra, and options that keep
# its episodes short. Everything else is the same for all.
ENVIRONMENTS = {
    "CartPole-v1": ("pygame", "gymnasium", 40),
    "ALE/Pong-v5": ("ale_py", "gymnasium", 40),
    "MiniGrid-Empty-8x8-v0": ("minigrid", "gymnasium", 40),
    "CarRacing-v3": ("envpool", "envpool", 40),
}


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """main answers SIGTERM; the tests' own process shall not, afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["CarRacing-v3", "ALE/Pong-v5"])
def test_from_frames_to_figures(
    env_id: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Collecting, training a VAE and an agent, and evaluating work by the same commands on
    environments that are not drawn, without a warning; tests/docs has the others."""
    package, engine, steps = ENVIRONMENTS[env_id]
    pytest.importorskip(package)
    at = tmp_path
    common = ["--engine", engine, "--env-kwargs", json.dumps({"max_episode_steps": steps})]
    collect = ["--frames", "128", "--workers", "2", *common]
    main(["collect", env_id, "--out", f"{at}/data", *collect])
    train = ["--steps", "4", "--batch-size", "16", "--latent-dim", "8"]
    main(["train-vae", f"{at}/data", "--out", f"{at}/model", *train])
    evaluations = ["--evaluations", "1", "--evaluation-episodes", "2", "--n-envs", "2"]
    recipe = at / "tiny.py"
    recipe.write_text(
        "import rl_vae\nRECIPE = rl_vae.Recipe('PPO', total_steps=1, stack=2, actions=1,"
        " hyperparameters={'n_steps': 32, 'batch_size': 32, 'n_epochs': 1})\n"
    )
    agent = [
        "--encoder",
        f"{at}/model",
        "--agent",
        f"{recipe}",
        "--steps",
        "128",
        *evaluations,
        *common,
    ]
    main(["train-agent", env_id, "--out", f"{at}/agent", *agent])
    shown = ["--video", f"{at}/film.mp4", "--json", f"{at}/figures.json"]
    main(["evaluate", f"{at}/agent", "--episodes", "2", *shown])

    out, err = capfd.readouterr()
    assert [
        line for line in err.splitlines() if "%|" not in line
    ] == []  # progress of a slow machine
    # One a command, pixels, the engine, drift, the return, two curves, three of evaluate
    assert len(out.splitlines()) == 12
    assert "warn" not in out.lower()
    dataset = FrameDataset.open(at / "data")
    dataset.verify()
    assert len(dataset) == 128 and dataset.header.engine == engine
    frames = dataset.frames(range(128))
    assert frames.shape == (128, 64, 64, 3) and frames.std() > 1
    assert Encoder.load(at / "model").encode(frames[:4]).shape == (4, 8)
    trained = Agent.load(at / "agent")
    assert (trained.env_id, trained.engine) == (env_id, engine)
    figures = json.loads((at / "figures.json").read_bytes())["figures"]
    assert figures["episodes"] == 2 and isinstance(figures["mean_return"], float)
    assert (at / "film.mp4").stat().st_size > 1000
    assert sorted(os.listdir(at)) == [
        "agent",
        "data",
        "figures.json",
        "film.mp4",
        "model",
        "tiny.py",
    ]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MiniGrid-Empty-8x8-v0"])
def test_the_simulators_state_is_recorded(env_id: str, tmp_path: Path) -> None:
    """If the simulator's state is known, its factors are stored with the frames and change."""
    pytest.importorskip(ENVIRONMENTS[env_id][0])
    main(["collect", env_id, "--out", f"{tmp_path}/data", "--frames", "64", "--workers", "1"])
    factors = FrameDataset.open(tmp_path / "data").factors
    assert len(factors) >= 3
    assert any(values.std() > 0 for values in factors.values())
