"""Configuration of a comparison: systems, seeds, settings, and the files of its folder.

A system is what agents of the comparison observe: a code (beta1, beta4, ..., autoencoder, random,
pca, a pretrained network, the model in a folder), the frames (pixels) or the simulator's state
(state). A run is one system with one seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from rl_vae.agents.recipe import Recipe
from rl_vae.constraints import Range
from rl_vae.envs.pixel_options import PIXEL_OPTIONS, PixelOptions
from rl_vae.envs.registry import EngineName
from rl_vae.errors import ConfigError
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.models.pretrained import PRETRAINED
from rl_vae.system import hashing
from rl_vae.system.json_values import encode_values
from rl_vae.training.config import TrainConfig

BASELINES = ("pixels", "random", "pca", "autoencoder", "state")
FORMAT = 2


@dataclass(frozen=True)
class ComparisonConfig(PixelOptions):
    """Systems, seeds and settings of a comparison.

    Raises:
        ConfigError: if a value has another type or is out of its range, if a beta, a baseline or a
            seed occurs twice, or if there is no system or no seed.
    """

    env_id: str
    """Id of the environment, or a name for the one that `compare` is given."""
    recipe: Recipe
    """Recipe of every agent."""
    betas: tuple[Annotated[float, Range(low=0)], ...] = (1.0, 4.0, 16.0)
    """Values of beta; each is one system."""
    baselines: tuple[str, ...] = BASELINES
    """Other systems: pixels (stacked frames, SB3's CnnPolicy), random (untrained network), pca,
    autoencoder, state (the simulator's state), a pretrained network such as dinov2-small, or a
    model folder of rl_vae.save_encoder."""
    seeds: tuple[Annotated[int, Range(low=0, below=2**30)], ...] = (0, 1, 2, 3, 4)
    """Seeds of the runs: of the weights, the order of frames, the agent and its environments."""
    frames: Annotated[int, Range(low=64)] = 10_000
    """Number of frames on which codes are trained. Codes are scored on half as many frames of other
    episodes, but on no more than 4,000."""
    spec: FrameSpec = field(default_factory=FrameSpec)
    vae: VAEConfig = field(default_factory=VAEConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    """Settings of VAE training. Each run replaces the objective and the seed."""
    episodes: Annotated[int, Range(low=1)] = 20
    """Number of evaluation episodes of each agent, without noise, on the same seeds for all."""
    evaluations: Annotated[int, Range(low=0)] = 4
    """Number of evaluations during the training of each agent, for the learning curves."""
    engine: EngineName = "gymnasium"
    """Environment engine. Only gymnasium reads the state. Without the state there are no probes of
    the state, no disentanglement metrics and no baseline state."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the environment."""
    max_episode_steps: Annotated[int, Range(low=1)] | None = None
    """Number of environment steps after which an episode is truncated; None: as the environment
    has it."""
    seed: int = 0
    """Seed of the frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("betas", "baselines", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise _config_error(f"every value of {name} once", values, f"repeat no {name}")
        for baseline in self.baselines:
            if baseline in BASELINES or baseline in PRETRAINED:
                continue
            if not (Path(baseline) / "config.json").is_file():
                expected = f"baselines of {', '.join((*BASELINES, *PRETRAINED))}, or a model folder"
                raise _config_error(expected, baseline, "choose baselines=('pixels',)")
        if len(set(self.systems)) < len(self.systems):
            expected = "systems of different names: betas of six digits, names of model folders"
            raise _config_error(expected, self.systems, "choose betas or folders that differ more")
        try:
            hashing.canonical_json(encode_values(dict(self.env_kwargs)))
        except (TypeError, ValueError) as error:
            expected = "env_kwargs of numbers, strings, tuples, lists and dicts"
            raise _config_error(expected, str(error), "replace objects by such values") from error
        if not self.systems:
            raise _config_error("one beta or one baseline", "no system", "choose betas=(1.0, 4.0)")
        if not self.seeds:
            raise _config_error("one seed or more", "no seed", "choose seeds=(0, 1, 2)")

    @property
    def pixel_options(self) -> dict[str, Any]:
        """The fields of `PixelOptions`, by name."""
        return {name: getattr(self, name) for name in PIXEL_OPTIONS}

    @property
    def systems(self) -> tuple[str, ...]:
        """Names of the systems in the order of the tables."""
        return (*(f"beta{beta:g}" for beta in self.betas), *map(system_of, self.baselines))

    @property
    def encoders(self) -> dict[str, str]:
        """Pretrained networks and model folders by the name of their system."""
        others = [baseline for baseline in self.baselines if baseline not in BASELINES]
        return {system_of(baseline): baseline for baseline in others}

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        plain = {**asdict(self), "recipe": self.recipe.to_dict(), "spec": self.spec.to_dict()}
        plain["env_kwargs"] = encode_values(self.env_kwargs)
        plain |= {"vae": self.vae.to_dict(), "train": self.train.to_dict()}
        header = {"format": FORMAT, "kind": "rl_vae comparison", "systems": self.systems}
        return dict(json.loads(hashing.canonical_json({**header, **plain})))


def system_of(baseline: str) -> str:
    """Name of a baseline's system: its own, or that of a model folder."""
    if baseline in BASELINES or baseline in PRETRAINED:
        return baseline
    return f"model-{Path(baseline).resolve().name}"


def run_name(system: str, seed: int) -> str:
    """Name of a run, such as "beta4-seed0"."""
    return f"{system}-seed{seed}"


def run_path(out: Path, system: str, seed: int) -> Path:
    """File with the result of a run, in the folder of a comparison."""
    return out / "runs" / f"{run_name(system, seed)}.json"


def model_path(out: Path, system: str, seed: int) -> Path:
    """Model folder of a run."""
    return out / "models" / run_name(system, seed)


def beta_of_system(system: str) -> float | None:
    """Beta of a system; None if it is not a beta-VAE."""
    return float(system.removeprefix("beta")) if system.startswith("beta") else None


def _config_error(expected: str, got: str | Sequence[Any], remedy: str) -> ConfigError:
    return ConfigError(
        "ComparisonConfig describes no comparison.", expected=expected, got=got, remedy=remedy
    )
