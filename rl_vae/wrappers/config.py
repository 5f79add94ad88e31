"""ObservationConfig: what an agent observes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from rl_vae.constraints import Range, check_fields, from_keywords
from rl_vae.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ObservationConfig:
    """What an agent observes. Its fields are the keywords of every wrapper and fields of Recipe.

    An observation is one float32 vector: `stack` codes, then `actions` past actions, then the
    extras (the other entries of a Dict observation). `rl_vae.wrappers.fields` describes it.

    Raises:
        ConfigError: if a value has another type or lies outside its range.
    """

    stack: Annotated[int, Range(low=1, remedy="stack=4 serves most games")] = 1
    """Number of codes in an observation, the current one included, from 1 up. A single frame holds
    no velocity."""
    actions: Annotated[int, Range(low=0, remedy="actions=0 serves most games")] = 0
    """Number of past actions in an observation, from 0 up."""
    code: Literal["mu", "mu_logvar", "sample"] = "mu"
    """Code of a frame: "mu", the means of its posterior; "mu_logvar", the means and then the
    logarithms of the variances; "sample", a draw from the posterior, which needs a seed."""
    standardise: bool = False
    """Whether each latent is shifted and scaled by its mean and its standard deviation over the
    training frames. Log-variances are not."""
    extras: Literal["flatten", "dict", "drop", "goals"] = "flatten"
    """Treatment of the other entries of a Dict observation. "flatten": their numbers follow the
    latents and actions in one vector, for MlpPolicy. "dict": the observation is a Dict with the
    vector under "latent" and the entries unchanged, for MultiInputPolicy. "drop": they are left
    out. "goals": as "dict", but the entries "achieved_goal" and "desired_goal" of a goal
    environment, which are images, become their codes, and other images are left out."""
    image_key: str | None = None
    """Key of the image in a Dict observation; needed if the Dict has several images."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_goal_code(self)


def check_goal_code(config: ObservationConfig) -> None:
    """Check that goals, whose codes are compared, are encoded without variances and noise.

    Raises:
        ConfigError: if they are not.
    """
    if config.extras == "goals" and config.code != "mu":
        raise ConfigError(
            "Goals are compared by their mean latents.",
            expected='code="mu", with extras="goals"',
            got=f"code={config.code!r}",
            remedy='choose code="mu"',
        )


def config_from_options(
    config: ObservationConfig | None, options: Mapping[str, Any]
) -> ObservationConfig:
    """Make an ObservationConfig from the keywords of a wrapper.

    Args:
        config: A complete configuration, or None.
        options: Fields of ObservationConfig by name, if `config` is None.

    Raises:
        ConfigError: if both are given, if a keyword is unknown or if a value is out of its range.
    """
    if config is None:
        return from_keywords(ObservationConfig, options)
    if options or not isinstance(config, ObservationConfig):
        raise ConfigError(
            "config is not usable.",
            expected="an ObservationConfig and none of its fields as a keyword",
            got=f"config={config!r} and the keywords {sorted(options)}",
            remedy="give either config= or keywords such as stack=4",
        )
    return config
