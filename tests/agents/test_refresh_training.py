"""train_agent(refresh=...): the VAE is trained on during the training of the agent."""

import functools
import json
import os
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_models
import numpy as np
import pytest
from cli_runs import run
from environments import refused
from folder_files import flip_bit
from little_games import LINE
from little_models import PPO, SAC
from stable_baselines3 import PPO as SB3_PPO
from stable_baselines3.common.callbacks import BaseCallback

from rl_vae import Agent, Refresh, train_agent
from rl_vae.agents import callback as training_callback
from rl_vae.agents import refresh as refreshing
from rl_vae.agents.trained import TrainedAgent
from rl_vae.cli import agents as commands
from rl_vae.errors import ConfigError, FolderError
from rl_vae.sb3 import VecLatent
from rl_vae.sb3.play import Played
from rl_vae.verify import verify_folder
from rl_vae.wrappers.latent_box import EncoderWarning

PLAN: dict[str, Any] = {"every": 100, "steps": 4, "frames": 64}


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def train(out: Path, recipe: Any = PPO, **changes: Any) -> TrainedAgent:
    refresh = Refresh(**PLAN, keep=(little_models.dataset(),))
    arguments = {"evaluations": 0, "progress": False, "refresh": refresh, **changes}
    env = arguments.pop("env", little_models.game_of(recipe))
    return train_agent(env, little_models.model(), out, recipe, **arguments)


class Codes(BaseCallback):
    """Compares the newest codes of the observations with those of the encoder, at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders: list[str] = []
        self.differences: list[float] = []

    def _on_step(self) -> bool:
        venv: Any = self.training_env
        assert isinstance(venv, VecLatent)
        width = venv.encoder.latent_dim
        newest = self.locals["new_obs"][:, venv.fields.latents][:, -width:]
        self.differences.append(float(np.abs(newest - venv.encoder.encode(venv.frames)).max()))
        self.encoders.append(venv.encoder.digest)
        return True


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedAgent, Codes]:
    """A training with one refresh, after 128 decisions, and what its agent observed. Read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        codes = Codes()
        out = tmp_path_factory.mktemp("refreshed") / "agent"
        return train(out, callback=codes, evaluations=1), codes


def test_the_agent_has_the_encoder_of_its_last_refresh(
    refreshed: tuple[TrainedAgent, Codes],
) -> None:
    """Its encoder was trained on from the first one, with the kept and the collected frames; the
    folder names both encoders, its zip the last one, and nothing else of the refresh is left."""
    trained, _ = refreshed
    assert trained.refreshes == (128,) and trained.evaluation is not None
    config = json.loads((trained.path / "config.json").read_bytes())
    agent, first = Agent.load(trained.path), little_models.encoder_digest()
    assert config["refresh"]["encoder"] == first != agent.encoder.digest
    assert config["refreshes"] == [{"steps": 128, "encoder": agent.encoder.digest}]
    provenance = agent.encoder.provenance
    assert provenance["parent"] == first and provenance["steps"] == 4
    assert provenance["frames"] == 320 + 64
    assert provenance["train"]["learning_rate"] == 3e-4
    assert not list(trained.path.glob("refresh-*"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", EncoderWarning)
        venv = agent.make_venv(1)
        SB3_PPO.load(trained.path / "agent.zip", env=venv)
        venv.close()


def test_it_observes_through_the_current_encoder(refreshed: tuple[TrainedAgent, Codes]) -> None:
    """At each step the newest code of an observation is that of the encoder of this step."""
    trained, codes = refreshed
    assert max(codes.differences) < 1e-6
    first, last = little_models.encoder_digest(), Agent.load(trained.path).encoder.digest
    assert codes.encoders == [first] * 128 + [last] * 128


def test_a_finished_one_is_returned(refreshed: tuple[TrainedAgent, Codes]) -> None:
    """The same call returns the agent; without the refresh, or with another one, it is refused."""
    trained, _ = refreshed
    assert train(trained.path, evaluations=1) == trained
    for other in (None, Refresh(**PLAN)):
        with refused(FolderError, "contains another agent"):
            train(trained.path, evaluations=1, refresh=other)


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("place", ["collect_frames", "train", "_take", "after"])
def test_an_interrupted_one_has_the_same_encoder(
    place: str,
    refreshed: tuple[TrainedAgent, Codes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted before, while or after the encoder is trained on, a training goes on at its last
    checkpoint, refreshes once, and ends with the encoder of an uninterrupted one."""

    def stop(*_: Any, **__: Any) -> Any:
        raise Interrupted

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return True if self.num_timesteps < 200 else stop()

    owners = {"collect_frames": refreshing, "train": Refresh, "_take": refreshing.EncoderRefresh}
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        if place in owners:
            patch.setattr(owners[place], place, stop)
        train(tmp_path / "agent", callback=Stop() if place == "after" else None)
    if place == "after":
        flip_bit(tmp_path / "agent.partial/refresh-1/model/model.safetensors", 4000)
        findings = verify_folder(tmp_path / "agent.partial").findings
        assert any("refresh-1/model" in str(finding.path) for finding in findings)
        flip_bit(tmp_path / "agent.partial/refresh-1/model/model.safetensors", 4000)
    again = train(tmp_path / "agent")
    digests = [Agent.load(each.path).encoder.digest for each in (again, refreshed[0])]
    assert again.refreshes == (128,) and digests[0] == digests[1]


def test_the_best_policy_keeps_its_own_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the policy that is kept is one from before the refresh, so is its encoder."""
    returns = iter([3.0, 1.0, 0.0, 0.0])

    def play(venv: Any, choose: Any, n: int, seed: int) -> Any:
        value = next(returns)
        return Played(np.full(n, value), np.ones(n, np.int64), 0)

    monkeypatch.setattr(training_callback, "play", play)
    trained = train(tmp_path / "agent", keep="best", evaluations=4)
    assert trained.kept is not None and trained.kept.step == 64 and trained.refreshes == ()
    assert Agent.load(trained.path).encoder.digest == little_models.encoder_digest()


def test_an_algorithm_with_a_replay_buffer(tmp_path: Path) -> None:
    """SAC goes on with its buffer after the refresh."""
    sizes: list[int] = []

    class Sizes(BaseCallback):
        def _on_step(self) -> bool:
            model: Any = self.model
            sizes.append(model.replay_buffer.size())
            return True

    trained = train(tmp_path / "agent", SAC, callback=Sizes())
    assert trained.refreshes == (100,)
    assert sizes == sorted(sizes) and sizes[-1] == 150
    assert Agent.load(trained.path).encoder.digest != little_models.encoder_digest()


def test_what_cannot_be_refreshed(tmp_path: Path, dataset: Any) -> None:
    """Open environments, kept frames of another kind and other objects are refused, and nothing is
    written."""
    out = tmp_path / "agent"
    with refused(ConfigError, "environments of its own"):
        train(out, env=gym.make(LINE))
    with refused(ConfigError, "width=48"):
        train(out, refresh=Refresh(**PLAN, keep=(dataset.path,)))
    with refused(ConfigError, "refresh"):
        train(out, refresh=100)
    with refused(ConfigError, "every"):
        Refresh(every=0)
    assert list(tmp_path.iterdir()) == []


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """train-agent has flags for a refresh, and refuses those that say how without when."""
    given: dict[str, Any] = {}

    @functools.wraps(train_agent)
    def note(**options: Any) -> Any:
        given.update(options)
        raise ConfigError("Noted.", expected="", got="", remedy="")

    monkeypatch.setattr(commands, "train_agent", note)

    def run_with(*flags: object) -> str:
        given.clear()
        assert run("train-agent", LINE, "--encoder", "e", "--out", tmp_path / "a", *flags) == 2
        return capsys.readouterr().err

    assert "Noted" in run_with() and given["refresh"] is None
    run_with("--refresh-every", 50, "--refresh-frames", 64, "--refresh-keep", "one", "two")
    assert given["refresh"] == Refresh(every=50, frames=64, keep=(Path("one"), Path("two")))
    assert "--refresh-every" in run_with("--refresh-frames", 64) and not given
