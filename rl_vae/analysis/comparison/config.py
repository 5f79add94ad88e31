"""Lineup: what is compared, and how.

A system is what an agent sees: a code (beta1, beta4, ..., autoencoder, random, pca) or the world
without one (pixels, state).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rl_vae.agents.recipe import Recipe
from rl_vae.envs.engines import EngineName
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec
from rl_vae.models.vae import VAEConfig
from rl_vae.system import files
from rl_vae.training.baselines import BASELINE_MODELS
from rl_vae.training.train import TrainConfig

BASELINES = ("pixels", *BASELINE_MODELS, "autoencoder", "state")
FORMAT = 1


@dataclass(frozen=True)
class ComparisonConfig:
    """What is compared, and how.

    Raises:
        ConfigError: where a value is out of its range.
    """

    env_id: str
    recipe: Recipe
    """Of every agent, whatever it sees."""
    betas: tuple[float, ...] = (1.0, 4.0, 16.0)
    baselines: tuple[str, ...] = BASELINES
    """Of pixels (SB3's CnnPolicy on stacked frames), random (an untrained network), pca,
    autoencoder, state (the simulator's own numbers)."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each of the weights, the order of the frames, the agent and its environments."""
    frames: int = 10_000
    """That the codes are trained on; half as many, but not more than 4,000, of other episodes are
    collected to score them."""
    spec: FrameSpec = field(default_factory=FrameSpec)
    vae: VAEConfig = field(default_factory=VAEConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    """Its objective and seed are the systems'."""
    episodes: int = 20
    """Of each agent's evaluation, without noise, on the same unseen seeds for all."""
    evaluations: int = 4
    """How often each agent is evaluated on its way, for the curves."""
    engine: EngineName = "gymnasium"
    """Only Gymnasium gives the state, without which there are no probes of it, no metrics of
    disentanglement and no baseline state."""
    image_key: str | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    """Of the frames."""

    def __post_init__(self) -> None:
        strange = sorted(set(self.baselines) - set(BASELINES))
        known = f"baselines of {', '.join(BASELINES)}, each once"
        require(not strange and _once(self.baselines), known, self.baselines)
        right = _once(self.betas) and all(0 <= beta < float("inf") for beta in self.betas)
        require(right, "betas from 0 up, each once", self.betas)
        require(len(self.systems) > 0, "a beta or a baseline", "neither")
        right = _once(self.seeds) and bool(self.seeds)
        right = right and all(type(seed) is int and 0 <= seed < 2**30 for seed in self.seeds)
        require(right, "seeds, whole numbers from 0 to below 2**30, each once", self.seeds)
        for name, least in (("frames", 64), ("episodes", 1), ("evaluations", 0)):
            value = getattr(self, name)
            require(type(value) is int and value >= least, f"{name} from {least} up", value)

    @property
    def systems(self) -> tuple[str, ...]:
        """In the order of the tables."""
        return (*(f"beta{beta:g}" for beta in self.betas), *self.baselines)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {**asdict(self), "recipe": self.recipe.to_dict(), "spec": self.spec.to_dict()}
        plain |= {"vae": self.vae.to_dict(), "train": self.train.to_dict()}
        described = {"format": FORMAT, "kind": "rl_vae comparison", "systems": self.systems}
        return dict(json.loads(files.canonical_json({**described, **plain})))


def cell_name(system: str, seed: int) -> str:
    """Such as "beta4-seed0"."""
    return f"{system}-seed{seed}"


def cell_path(out: Path, system: str, seed: int) -> Path:
    """Where a cell's result lies in a comparison's folder."""
    return out / "cells" / f"{cell_name(system, seed)}.json"


def model_path(out: Path, system: str, seed: int) -> Path:
    """Where a code's model lies."""
    return out / "models" / cell_name(system, seed)


def beta_of(system: str) -> float | None:
    """The beta of a system that has one."""
    return float(system.removeprefix("beta")) if system.startswith("beta") else None


def _once(values: Sequence[Any]) -> bool:
    return len(set(values)) == len(values)


def require(right: bool, expected: str, got: object) -> None:
    """Raise ConfigError unless something is right."""
    if not right:
        raise ConfigError(
            "This cannot be compared.", expected=expected, got=repr(got), remedy="correct it"
        )
