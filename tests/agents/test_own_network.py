"""An agent whose encoder has a network of the user's own, of which no code is stored."""

from dataclasses import replace
from pathlib import Path

import little_games
import little_models
import pytest
from exported_agents import check_exported

from rl_vae import Agent, FrameDataset, TrainConfig, VAEConfig, evaluate_agent, export_agent
from rl_vae.agents.film import film_agent
from rl_vae.agents.train import train_agent
from rl_vae.training.train import train_vae

NETWORK = """
import math
from torch import nn
from rl_vae import Network

class Linear(Network):
    def build_encoder(self, frame_shape, latent_dim):
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(frame_shape), 2 * latent_dim))

    def build_decoder(self, frame_shape, latent_dim):
        h, w, c = frame_shape
        return nn.Sequential(nn.Linear(latent_dim, h * w * c), nn.Unflatten(1, (c, h, w)))
"""


@pytest.mark.slow
def test_an_agent_with_a_users_network_plays_and_is_exported(tmp_path: Path) -> None:
    """It trains, loads without the network's file, plays, is filmed, and its export acts alike."""
    file = tmp_path / "network.py"
    file.write_text(NETWORK)
    frames = FrameDataset.open(little_models.dataset())
    config = VAEConfig(latent_dim=4, network=f"{file}:Linear")
    model = train_vae(frames, tmp_path / "model", config, TrainConfig(steps=10), progress=False)
    file.unlink()
    recipe = replace(little_models.PPO, total_steps=64, code="mu_logvar")
    train_agent(
        little_games.LINE, model.path, tmp_path / "agent", recipe, evaluations=0, progress=False
    )
    agent = Agent.load(tmp_path / "agent")
    result = evaluate_agent(agent, episodes=1, workers=1)
    film = film_agent(agent, seed=result.seeds[0], height=32)
    assert abs(film.total - result.returns[0]) < 1e-5
    check_exported(agent, export_agent(agent.path, tmp_path / "agent.onnx"))
