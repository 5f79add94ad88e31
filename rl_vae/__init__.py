"""rl_vae: compress an environment's frames once, let Stable-Baselines3 agents learn from the code.

A name is imported when it is first used, so that `import rl_vae` loads neither torch nor
Stable-Baselines3. Wrappers for Stable-Baselines3 are in `rl_vae.sb3`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from rl_vae import errors, metrics, sprites
    from rl_vae.agents.agent import Agent
    from rl_vae.agents.evaluate import evaluate_agent
    from rl_vae.agents.evolve import evolve_agent
    from rl_vae.agents.export import export_agent
    from rl_vae.agents.recipe import Recipe
    from rl_vae.agents.train import train_agent
    from rl_vae.analysis.anomalies import find_anomalies
    from rl_vae.analysis.classifier import labels_of, train_classifier
    from rl_vae.analysis.comparison.compare import compare
    from rl_vae.analysis.comparison.config import ComparisonConfig
    from rl_vae.analysis.gallery import draw_gallery
    from rl_vae.analysis.report import write_report
    from rl_vae.analysis.score import score_encoder
    from rl_vae.analysis.scorecard import Scorecard
    from rl_vae.analysis.tuning.space import SearchSpace
    from rl_vae.analysis.tuning.tune import tune
    from rl_vae.data.collect import collect_frames
    from rl_vae.data.compress import compress_dataset
    from rl_vae.data.coverage import coverage
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.data.factor_grid import FactorGrid
    from rl_vae.data.policies import Correlated, Mixture, Uniform
    from rl_vae.data.shard_envs import SeedWarning
    from rl_vae.envs.make import make_env
    from rl_vae.executors.job import Job
    from rl_vae.executors.local import LocalExecutor
    from rl_vae.executors.ray_executor import RayExecutor
    from rl_vae.formats.export_data import export_data
    from rl_vae.formats.format import Format
    from rl_vae.formats.import_frames import import_frames
    from rl_vae.formats.registry import register_format
    from rl_vae.formats.replay_buffer import import_replay_buffer
    from rl_vae.frames import FrameSpec
    from rl_vae.hub.pull import pull_folder
    from rl_vae.hub.push import push_folder
    from rl_vae.models.config import VAEConfig
    from rl_vae.models.encoder import Encoder
    from rl_vae.models.encoder_input import Preprocessing
    from rl_vae.models.export_encoder import export_encoder
    from rl_vae.models.network import Network
    from rl_vae.models.pretrained import pretrained
    from rl_vae.models.save_encoder import save_encoder
    from rl_vae.models.vae import VAE
    from rl_vae.objectives.adversarial import Adversarial
    from rl_vae.objectives.autoencoder import Autoencoder
    from rl_vae.objectives.base import LossInputs, LossTerms, Objective
    from rl_vae.objectives.beta import Beta
    from rl_vae.objectives.beta_tc import BetaTC
    from rl_vae.objectives.capacity import Capacity
    from rl_vae.objectives.denoising import Denoising
    from rl_vae.objectives.factor_vae import FactorVAE
    from rl_vae.sb3.action_map import ActionMap
    from rl_vae.sb3.play import CutWarning
    from rl_vae.sprites import Sprites, collect_sprites
    from rl_vae.system.estimate import t_interval
    from rl_vae.training.config import TrainConfig
    from rl_vae.training.heads import Heads
    from rl_vae.training.refresh import Refresh
    from rl_vae.training.sweep import train_sweep
    from rl_vae.training.train import train_vae
    from rl_vae.verify import repair_folder, verify_folder
    from rl_vae.wrappers.config import ObservationConfig
    from rl_vae.wrappers.drift import DriftWarning
    from rl_vae.wrappers.latent import LatentObservation
    from rl_vae.wrappers.vector import VectorLatentObservation
    from rl_vae.wrappers.watch import WatchLatents

__version__ = "0.1.0"

_HOME = {
    "ActionMap": "sb3",
    "Adversarial": "objectives.adversarial",
    "Agent": "agents.agent",
    "Autoencoder": "objectives.autoencoder",
    "Beta": "objectives.beta",
    "BetaTC": "objectives.beta_tc",
    "Capacity": "objectives.capacity",
    "ComparisonConfig": "analysis.comparison.config",
    "Correlated": "data.policies",
    "CutWarning": "sb3",
    "Denoising": "objectives.denoising",
    "DriftWarning": "wrappers.drift",
    "Encoder": "models.encoder",
    "FactorVAE": "objectives.factor_vae",
    "FactorGrid": "data.factor_grid",
    "Format": "formats.format",
    "FrameDataset": "data.dataset",
    "FrameSpec": "frames",
    "Heads": "training.heads",
    "Job": "executors.job",
    "LatentObservation": "wrappers.latent",
    "LocalExecutor": "executors.local",
    "LossInputs": "objectives.base",
    "LossTerms": "objectives.base",
    "Mixture": "data.policies",
    "Network": "models.network",
    "Objective": "objectives.base",
    "ObservationConfig": "wrappers.config",
    "Preprocessing": "models.encoder_input",
    "RayExecutor": "executors.ray_executor",
    "Recipe": "agents.recipe",
    "Refresh": "training.refresh",
    "Scorecard": "analysis.scorecard",
    "SearchSpace": "analysis.tuning.space",
    "SeedWarning": "data.shard_envs",
    "Sprites": "sprites",
    "TrainConfig": "training.config",
    "Uniform": "data.policies",
    "VAE": "models.vae",
    "VAEConfig": "models.config",
    "VectorLatentObservation": "wrappers.vector",
    "WatchLatents": "wrappers.watch",
    "collect_frames": "data.collect",
    "collect_sprites": "sprites",
    "compare": "analysis.comparison.compare",
    "compress_dataset": "data.compress",
    "coverage": "data.coverage",
    "draw_gallery": "analysis.gallery",
    "evaluate_agent": "agents.evaluate",
    "evolve_agent": "agents.evolve",
    "export_agent": "agents.export",
    "export_data": "formats.export_data",
    "export_encoder": "models.export_encoder",
    "find_anomalies": "analysis.anomalies",
    "import_frames": "formats.import_frames",
    "import_replay_buffer": "formats.replay_buffer",
    "labels_of": "analysis.classifier",
    "make_env": "envs.make",
    "pretrained": "models.pretrained",
    "pull_folder": "hub.pull",
    "push_folder": "hub.push",
    "register_format": "formats.registry",
    "repair_folder": "verify",
    "save_encoder": "models.save_encoder",
    "score_encoder": "analysis.score",
    "t_interval": "system.estimate",
    "train_agent": "agents.train",
    "train_classifier": "analysis.classifier",
    "train_sweep": "training.sweep",
    "train_vae": "training.train",
    "tune": "analysis.tuning.tune",
    "verify_folder": "verify",
    "write_report": "analysis.report",
}

_MODULES = ("errors", "metrics", "sprites")

__all__ = [
    "ActionMap",
    "Adversarial",
    "Agent",
    "Autoencoder",
    "Beta",
    "BetaTC",
    "Capacity",
    "ComparisonConfig",
    "Correlated",
    "CutWarning",
    "Denoising",
    "DriftWarning",
    "Encoder",
    "FactorGrid",
    "FactorVAE",
    "Format",
    "FrameDataset",
    "FrameSpec",
    "Heads",
    "Job",
    "LatentObservation",
    "LocalExecutor",
    "LossInputs",
    "LossTerms",
    "Mixture",
    "Network",
    "Objective",
    "ObservationConfig",
    "Preprocessing",
    "RayExecutor",
    "Recipe",
    "Refresh",
    "Scorecard",
    "SearchSpace",
    "SeedWarning",
    "Sprites",
    "TrainConfig",
    "Uniform",
    "VAE",
    "VAEConfig",
    "VectorLatentObservation",
    "WatchLatents",
    "collect_frames",
    "collect_sprites",
    "compare",
    "compress_dataset",
    "coverage",
    "draw_gallery",
    "errors",
    "evaluate_agent",
    "evolve_agent",
    "export_agent",
    "export_data",
    "export_encoder",
    "find_anomalies",
    "import_frames",
    "import_replay_buffer",
    "labels_of",
    "make_env",
    "metrics",
    "pretrained",
    "pull_folder",
    "push_folder",
    "register_format",
    "repair_folder",
    "save_encoder",
    "score_encoder",
    "sprites",
    "t_interval",
    "train_agent",
    "train_classifier",
    "train_sweep",
    "train_vae",
    "tune",
    "verify_folder",
    "write_report",
]


# Registering imports nothing: `gym.make` does. If this module is reloaded, the id exists already.
if "rl_vae/Sprites-v0" not in gym.registry:
    gym.register("rl_vae/Sprites-v0", "rl_vae.sprites.environment:SpritesEnv", max_episode_steps=50)


def __getattr__(name: str) -> Any:
    module = name if name in _MODULES else _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'rl_vae' has no attribute {name!r}")
    try:
        home = importlib.import_module(f"rl_vae.{module}")
    except ImportError as error:
        from rl_vae.errors import MissingPackageError

        if isinstance(error, MissingPackageError) or (error.name or "").startswith("rl_vae"):
            raise
        raise MissingPackageError.of(error, f"rl_vae.{name}") from error
    return getattr(home, name) if name in _HOME else home


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
