"""rl_vae: compress an environment's frames once, let Stable-Baselines3 agents learn from the code.

Names are imported when they are first used, so that `import rl_vae` loads neither torch nor
Stable-Baselines3; the latter's side is `rl_vae.sb3`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from rl_vae import errors
    from rl_vae.adversaries import Adversarial, FactorVAE
    from rl_vae.agent import Agent
    from rl_vae.anomalies import find_anomalies
    from rl_vae.classifier import labels_of, train_classifier
    from rl_vae.collect import collect_frames, coverage
    from rl_vae.comparison import compare
    from rl_vae.dataset import FrameDataset
    from rl_vae.deployment import export_agent
    from rl_vae.drift import DriftWarning
    from rl_vae.encoder import Encoder
    from rl_vae.envs import make_env
    from rl_vae.evaluation import evaluate_agent, interval
    from rl_vae.exploration import Correlated, Mixture, Uniform
    from rl_vae.frames import FrameSpec
    from rl_vae.gallery import draw_gallery
    from rl_vae.lineup import ComparisonConfig
    from rl_vae.objectives import Autoencoder, Beta, BetaTC, Capacity, Denoising
    from rl_vae.policy import train_agent
    from rl_vae.recipe import Recipe
    from rl_vae.repair import repair_folder
    from rl_vae.report import write_report
    from rl_vae.sb3 import ActionMap
    from rl_vae.scorecard import Scorecard, score_encoder
    from rl_vae.sprites import Sprites, collect_sprites
    from rl_vae.sweep import train_sweep
    from rl_vae.training import TrainConfig, train_vae
    from rl_vae.vae import VAE, VAEConfig
    from rl_vae.verification import verify_folder
    from rl_vae.watching import WatchLatents
    from rl_vae.wrappers import LatentObservation, VectorLatentObservation

__version__ = "0.1.0"

_HOME = {
    "ActionMap": "sb3",
    "Adversarial": "adversaries",
    "Agent": "agent",
    "Autoencoder": "objectives",
    "Beta": "objectives",
    "BetaTC": "objectives",
    "Capacity": "objectives",
    "ComparisonConfig": "lineup",
    "Correlated": "exploration",
    "Denoising": "objectives",
    "DriftWarning": "drift",
    "Encoder": "encoder",
    "FactorVAE": "adversaries",
    "FrameDataset": "dataset",
    "FrameSpec": "frames",
    "LatentObservation": "wrappers",
    "Mixture": "exploration",
    "Recipe": "recipe",
    "Scorecard": "scorecard",
    "Sprites": "sprites",
    "TrainConfig": "training",
    "Uniform": "exploration",
    "VAE": "vae",
    "VAEConfig": "vae",
    "VectorLatentObservation": "wrappers",
    "WatchLatents": "watching",
    "collect_frames": "collect",
    "collect_sprites": "sprites",
    "compare": "comparison",
    "coverage": "collect",
    "draw_gallery": "gallery",
    "evaluate_agent": "evaluation",
    "export_agent": "deployment",
    "find_anomalies": "anomalies",
    "interval": "evaluation",
    "labels_of": "classifier",
    "make_env": "envs",
    "repair_folder": "repair",
    "score_encoder": "scorecard",
    "train_agent": "policy",
    "train_classifier": "classifier",
    "train_sweep": "sweep",
    "train_vae": "training",
    "verify_folder": "verification",
    "write_report": "report",
}

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
    "Denoising",
    "DriftWarning",
    "Encoder",
    "FactorVAE",
    "FrameDataset",
    "FrameSpec",
    "LatentObservation",
    "Mixture",
    "Recipe",
    "Scorecard",
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
    "coverage",
    "draw_gallery",
    "errors",
    "evaluate_agent",
    "export_agent",
    "find_anomalies",
    "interval",
    "labels_of",
    "make_env",
    "repair_folder",
    "score_encoder",
    "train_agent",
    "train_classifier",
    "train_sweep",
    "train_vae",
    "verify_folder",
    "write_report",
]


# Registering imports nothing: whoever makes one imports it. A reloaded module finds it registered.
if "rl_vae/Sprites-v0" not in gym.registry:
    gym.register("rl_vae/Sprites-v0", "rl_vae.sprites.environment:SpritesEnv", max_episode_steps=50)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"rl_vae.{_HOME[name]}"), name)
    if name == "errors":
        return importlib.import_module("rl_vae.errors")
    raise AttributeError(f"module 'rl_vae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
