"""SearchSpace: what a search may choose; TrialSettings: what it chose."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, NamedTuple

from rl_vae.agents.recipe import Recipe
from rl_vae.constraints import Range, check_fields
from rl_vae.errors import ConfigError
from rl_vae.models.config import VAEConfig
from rl_vae.objectives.beta import Beta
from rl_vae.training.config import TrainConfig

_Count = Annotated[int, Range(low=1)]
_Bound = Annotated[float, Range(above=0)]


@dataclass(frozen=True)
class SearchSpace:
    """Values that a search tries. Equal values fix a setting.

    Raises:
        ConfigError: if there are no values, or a range ends below its start.
    """

    latent_dim: tuple[Annotated[int, Range(low=1, high=4096)], ...] = (8, 16, 32, 64)
    """Numbers of latents to choose from."""
    beta: tuple[_Bound, _Bound] = (0.25, 8.0)
    """Lowest and highest weight of the rate; the logarithm is uniform."""
    moving_weight: tuple[Annotated[float, Range(low=1)], ...] = (1.0, 10.0, 100.0)
    """Weights of moving pixels to choose from."""
    stack: tuple[_Count, ...] = (1, 2, 4)
    """Numbers of stacked codes to choose from."""
    actions: tuple[Annotated[int, Range(low=0)], ...] = (0, 2)
    """Numbers of past actions to choose from."""
    frame_skip: tuple[_Count, ...] = (1, 2, 4)
    """Numbers of environment steps per decision to choose from."""
    learning_rate: tuple[_Bound, _Bound] = (1e-4, 2e-3)
    """Lowest and highest learning rate of the agent; the logarithm is uniform."""

    def __post_init__(self) -> None:
        check_fields(self)
        empty = [name for name, values in asdict(self).items() if not values]
        reversed_ranges = [
            name
            for name in ("beta", "learning_rate")
            if getattr(self, name)[0] > getattr(self, name)[1]
        ]
        for name in (*empty, *reversed_ranges):
            raise ConfigError(
                f"SearchSpace.{name} is out of range.",
                expected="values to choose from, or the lowest and the highest value",
                got=repr(getattr(self, name)),
                remedy="correct it, or leave it out",
            )

    def suggest(self, trial: Any) -> TrialSettings:
        """Settings of a trial of Optuna."""
        return TrialSettings(
            trial.suggest_categorical("latent_dim", self.latent_dim),
            trial.suggest_float("beta", *self.beta, log=True),
            trial.suggest_categorical("moving_weight", self.moving_weight),
            trial.suggest_categorical("stack", self.stack),
            trial.suggest_categorical("actions", self.actions),
            trial.suggest_categorical("frame_skip", self.frame_skip),
            trial.suggest_float("learning_rate", *self.learning_rate, log=True),
        )


class TrialSettings(NamedTuple):
    """Settings of one code and its agent."""

    latent_dim: int
    beta: float
    moving_weight: float
    stack: int
    actions: int
    frame_skip: int
    learning_rate: float

    def vae(self) -> VAEConfig:
        """Settings of the model."""
        return VAEConfig(latent_dim=self.latent_dim)

    def training(self, steps: int | None, seed: int) -> TrainConfig:
        """Settings of the model's training; `steps` is the number of updates."""
        beta = Beta(self.beta)
        weight = self.moving_weight
        return TrainConfig(objective=beta, moving_weight=weight, steps=steps, seed=seed)

    def recipe(self, base: Recipe) -> Recipe:
        """The recipe `base` with these settings."""
        return replace(
            base,
            stack=self.stack,
            actions=self.actions,
            frame_skip=self.frame_skip,
            learning_rate=self.learning_rate,
        )

    def flags(self, steps: int | None, seed: int) -> list[str]:
        """Flags of `rl-vae train-vae` for `vae` and `training`."""
        flags = ["--latent-dim", self.latent_dim, "--beta", self.beta]
        flags += ["--moving-weight", self.moving_weight, "--seed", seed]
        return [str(flag) for flag in (*flags, *(() if steps is None else ("--steps", steps)))]
