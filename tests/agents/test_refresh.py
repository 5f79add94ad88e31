"""Refresh: a VAE goes on with what its agent sees, and the agent goes on with the VAE."""

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import little_games
import little_models
import numpy as np
import pytest
import safetensors.torch
import torch
from environments import refused
from little_games import LINE
from little_models import PPO

from rl_vae import Agent, Encoder, FrameDataset, TrainConfig, VAEConfig, train_agent, train_vae
from rl_vae.agents.evaluate import evaluate_agent
from rl_vae.cli import main
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.folder import read_model
from rl_vae.training.result import Trained
from rl_vae.training.step import TrainStep

GENTLE = TrainConfig(epochs=2, batch_size=64, learning_rate=3e-4)


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def go_on(out: Path, **changes: Any) -> Trained:
    """Go on with the little game's model, on the little game's frames."""
    arguments = {"start": little_models.model(), "train_config": GENTLE, **changes}
    frames = FrameDataset.open(little_models.dataset())
    return train_vae(frames, out, progress=False, **arguments)


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that went on. Read only."""
    return go_on(tmp_path_factory.mktemp("refresh") / "model").path


@pytest.mark.slow
def test_it_goes_on_from_the_weights(tmp_path: Path) -> None:
    """With a learning rate of nearly nothing, the model stays what it was; fresh ones do not."""
    still = replace(GENTLE, epochs=1, learning_rate=1e-12)
    weights = read_model(go_on(tmp_path / "still", train_config=still).path).weights
    for name, value in read_model(little_models.model()).weights.items():
        torch.testing.assert_close(weights[name], value, atol=1e-7, rtol=0)


def test_its_codes_stay_aligned(refreshed: Path) -> None:
    """After it went on, a frame's code lies near the one it had, and reconstruction is better."""
    frames = FrameDataset.open(little_models.dataset()).frames(np.arange(0, 320, 4))
    old, new = Encoder.load(little_models.model()), Encoder.load(refreshed)
    before, after = old.encode(frames), new.encode(frames)
    moved = np.square(after - before).sum() / np.square(before - before.mean(0)).sum()
    assert 0 < moved < 0.2
    held_out = new.provenance["held_out"]
    assert held_out["mse"] < old.provenance["held_out"]["mse"]


def test_the_artifact_names_its_parent(refreshed: Path) -> None:
    """Provenance holds the parent's digest; beta does not rise again, and is written down so."""
    provenance = read_model(refreshed).provenance
    assert provenance["parent"] == little_models.encoder_digest()
    assert provenance["train"]["objective"]["warm_up"] == 0
    assert read_model(little_models.model()).provenance["parent"] is None


@pytest.mark.slow
def test_a_resumed_one_equals_an_uninterrupted_one(
    refreshed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that went on, was interrupted and went on again is the same to the bit."""
    with monkeypatch.context() as patch:
        right, calls = TrainStep.update, 0

        def wrong(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 7:  # in the second epoch
                raise InterruptedError
            return right(*args, **kwargs)

        patch.setattr(TrainStep, "update", wrong)
        # An OSError: train_vae says what to do, and keeps what was done.
        with pytest.raises(Exception, match="run the same command again"):
            go_on(tmp_path / "model")
    result = go_on(tmp_path / "model")
    assert read_model(result.path).digest == read_model(refreshed).digest
    with refused(FolderError, "holds another model"):  # another parent is another model
        go_on(tmp_path / "model", start=refreshed)


def test_another_kind_of_model_is_refused(dataset: FrameDataset, tmp_path: Path) -> None:
    """Other settings than the parent's, or frames of another kind, are refused beforehand."""
    with refused(ConfigError, "'latent_dim': 9"):
        go_on(tmp_path / "model", vae_config=VAEConfig(latent_dim=9))
    with refused(ConfigError, "width=48"):
        train_vae(dataset, tmp_path / "model", start=little_models.model(), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_agent_sees_through_it(refreshed: Path, trained: Trained) -> None:
    """An agent can see through the new encoder, pickled too, and only through one of its kind."""
    agent = Agent.load(little_models.agent("PPO"), encoder=refreshed)
    assert agent.encoder.digest == read_model(refreshed).digest
    assert pickle.loads(pickle.dumps(agent)).encoder.digest == agent.encoder.digest
    assert len(evaluate_agent(agent, episodes=2).returns) == 2
    with refused(ConfigError, "--from"):
        Agent.load(little_models.agent("PPO"), encoder=trained.path)


def test_an_agent_goes_on(refreshed: Path, tmp_path: Path) -> None:
    """Training continues from another agent's weights into a new folder, if they fit."""
    start = little_models.agent("PPO")

    def train(name: str, recipe: Any, **changes: Any) -> Agent:
        out = tmp_path / name
        train_agent(LINE, refreshed, out, recipe, evaluations=0, progress=False, **changes)
        return Agent.load(out)

    still = replace(PPO, learning_rate=1e-12)
    weights = train("still", still, start=start).weights()
    for name, value in Agent.load(start).weights().items():
        torch.testing.assert_close(weights[name], value, atol=1e-6, rtol=0)
    with refused(FolderError, "contains another agent"):
        train("still", still)
    with refused(ConfigError, "networks"):
        train("wider", replace(PPO, stack=3), start=start)
    assert not (tmp_path / "wider.partial").exists()


def test_noise_goes_on_from_where_it_was(refreshed: Path, tmp_path: Path) -> None:
    """If the noise follows a schedule, an agent that is trained further keeps the final noise."""
    recipe = replace(
        PPO,
        final_log_std=-2.0,
        hyperparameters={**PPO.hyperparameters, "policy_kwargs": {"log_std_init": -1.0}},
    )
    seen = []
    for out, start in (("first", None), ("second", tmp_path / "first")):
        train_agent(
            little_games.PUSH,
            refreshed,
            tmp_path / out,
            recipe,
            evaluations=0,
            progress=False,
            start=start,
        )
        seen.append(safetensors.torch.load_file(tmp_path / out / "policy.safetensors")["log_std"])
    assert [float(value) for value in seen] == [-2.0, -2.0]


@pytest.mark.slow
def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """collect, train-vae --from, evaluate --encoder and train-agent --from fit together."""
    agent, seen, model = little_models.agent("PPO"), tmp_path / "seen", tmp_path / "model"

    def run(*arguments: object) -> None:
        main([str(argument) for argument in arguments])

    run("collect", LINE, "--policy", agent, "--out", seen, "--frames", 64, "--workers", 1)
    parts = (seen, little_models.dataset())
    run("train-vae", *parts, "--from", little_models.model(), "--out", model, "--steps", 5)
    model_folder = read_model(model)
    assert model_folder.provenance["train"]["learning_rate"] == 3e-4
    assert model_folder.provenance["frames"] == 64 + 320 and model_folder.vae_config.latent_dim == 4
    assert "of 4 latents active" in capsys.readouterr().out
    run("evaluate", agent, "--encoder", model, "--episodes", 1)
    out = tmp_path / "agent"
    run("train-agent", LINE, "--encoder", model, "--from", agent, "--out", out)
    assert Agent.load(out).recipe == PPO and Agent.load(out).encoder.digest == model_folder.digest
