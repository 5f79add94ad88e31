"""Alarms: signs that a training goes wrong, each with a cure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rl_vae.models.frame_model import FrameModel
from rl_vae.objectives.base import Objective
from rl_vae.system.progress import write_line
from rl_vae.training.config import TrainConfig
from rl_vae.training.evaluate import HeldOut, beta_norm

USUAL_BETA_NORM = (1e-6, 1.0)
"""Range of beta_norm that raises no alarm. Published settings lie well inside."""

MAX_BETA = 1000.0
"""Largest beta without an alarm: four times the largest of Higgins et al. 2017 (250, table 1)."""

FIRST_UPDATES = 20
"""Number of updates before which a model raises no alarm."""

SETTLED_SHARE, SETTLED_UPDATES = 0.25, 100
"""Share of the updates, and number of updates, after which a measure shows what the model learns.
The end of a shorter training counts, too."""

LOST_SHARE = 0.5
"""Share of the positions of moving pixels that are lost, from which there is an alarm."""

LOWEST_PEAK = 8
"""Highest byte of the frames, below which there is an alarm: frames are divided by 255."""

COLLAPSE_CURES = {
    "beta": "lower beta",
    "free_bits": "give each latent free_bits (0.1)",
    "capacity": "raise capacity",
    "adversary": "lower adversary",
    "warm_up": "raise warm_up",
}
"""Cures of an empty code, by the setting of an objective that they change."""


class Alarm(NamedTuple):
    """A problem of a training that its measures show."""

    name: str
    """"beta_norm", "collapse", "dark_frames", "lost_objects", "not_finite", or a name of
    `rl_vae.training.head_alarms`."""
    what: str
    """Description of the problem."""
    cure: str
    """Change of the settings that may help."""

    def __str__(self) -> str:
        return f"ALARM {self.name}: {self.what} Cure: {self.cure}."


def read_alarms(values: Any) -> list[Alarm]:
    """The alarms in a record that was read from JSON.

    Raises:
        TypeError: if one is something else.
    """
    alarms = [Alarm(**value) for value in values]
    if not all(isinstance(text, str) for alarm in alarms for text in alarm):
        raise TypeError("an alarm that is no text")
    return alarms


MODEL_ALARMS = ("collapse", "lost_objects", "reward_head", "done_head")
"""Alarms about a model, not about its training: only those of the last epoch stay."""


def check_epoch(
    vae: FrameModel,
    config: TrainConfig,
    held_out: HeldOut,
    *,
    step: int,
    total_steps: int,
    skipped: int,
    peak: int,
) -> list[Alarm]:
    """Alarms of an epoch.

    Args:
        vae: The model.
        config: Settings of the training.
        held_out: Measures after the epoch.
        step: Number of finished updates.
        total_steps: Number of updates of the whole training.
        skipped: Number of updates of the epoch that were skipped.
        peak: Highest byte of the training frames.
    """
    alarms = [*check_beta(config.objective, vae), *check_skipped(skipped)]
    if dark := check_dark(peak):  # the cause of an empty code, whose cure is another one
        return alarms + dark
    return [
        *alarms,
        *check_collapse(held_out, config, vae.config.likelihood, step, total_steps),
        *check_lost_objects(held_out, config, step, total_steps),
    ]


def last_alarms(epochs: Sequence[Sequence[Alarm]]) -> tuple[Alarm, ...]:
    """Alarms of a whole training, each once.

    An alarm about the model that a later epoch did not repeat is left out: the model has recovered.

    Args:
        epochs: Alarms of each epoch.
    """
    last = {alarm.name for alarm in epochs[-1]}
    alarms = {alarm.name: alarm for epoch in epochs for alarm in epoch}
    return tuple(a for a in alarms.values() if a.name in last or a.name not in MODEL_ALARMS)


def check_beta(objective: Objective, vae: FrameModel) -> list[Alarm]:
    """Raise an alarm if beta is far from all published values."""
    beta, norm = objective.max_kl_weight(), beta_norm(objective, vae)
    low, high = USUAL_BETA_NORM
    if beta == 0 or (low <= norm <= high and beta <= MAX_BETA):
        return []
    effect = (
        "the code will be empty"
        if norm > low
        else "the KL has almost no effect, so the model is an autoencoder"
    )
    values = math.prod(vae.shape)
    return [
        Alarm(
            "beta_norm",
            f"beta {beta:g} is a beta_norm of {norm:.2g}; typical are {low:g} to {high:g} and a "
            f"beta of at most {MAX_BETA:g}: {effect}.",
            "losses here are sums over pixels and latents, so beta 1 is the plain VAE and 4 is "
            "strong; multiply a beta that was chosen for means over pixels by the "
            f"{values:,} values of a frame",
        )
    ]


def check_collapse(
    held_out: HeldOut, config: TrainConfig, likelihood: str, step: int, total_steps: int
) -> list[Alarm]:
    """Raise an alarm if no latent is active.

    The weight of the KL only rises during a training, so a code that is empty after the first epoch
    is reported then. An objective without such a weight, such as `Capacity`, may keep the code
    empty at first on purpose: its code is judged after a quarter of the updates.

    Args:
        held_out: Measures after the last update.
        config: Settings of the training; the cure names settings that its objective has.
        likelihood: Likelihood of the model.
        step: Number of finished updates.
        total_steps: Number of updates of the whole training.
    """
    objective = config.objective
    early = objective.max_kl_weight() > 0 and step >= FIRST_UPDATES
    if held_out.active_units or not (early or settled(step, total_steps)):
        return []
    cures = [cure for name, cure in COLLAPSE_CURES.items() if hasattr(objective, name)]
    gaussian = "take" if likelihood == "gaussian" else "take likelihood='gaussian' with"
    cures.append(f"{gaussian} a smaller sigma, so that small differences count")
    return [
        Alarm(
            "collapse",
            f"none of {len(held_out.kl_per_dimension)} latents is active after {step} updates (KL "
            f"{held_out.rate:.2g} nats): every frame has the same code.",
            ", or ".join(cures),
        )
    ]


def check_lost_objects(
    held_out: HeldOut, config: TrainConfig, step: int, total_steps: int
) -> list[Alarm]:
    """Raise an alarm if most of what moves is not reconstructed.

    Args:
        held_out: Measures after the last update.
        config: Settings of the training.
        step: Number of finished updates.
        total_steps: Number of updates of the whole training.
    """
    lost = held_out.lost_share
    if lost is None or lost <= LOST_SHARE or not settled(step, total_steps):
        return []
    weight = config.moving_weight
    raised = f"moving_weight above {weight:g}" if weight > 1 else "moving_weight=20 or more"
    return [
        Alarm(
            "lost_objects",
            f"at {lost:.0%} of the positions where pixels move, the reconstruction is hardly "
            "better than a still picture (the median frame): moving objects are missing from the "
            "code.",
            f"train with {raised} (--moving-weight), or make more updates",
        )
    ]


def check_dark(peak: int) -> list[Alarm]:
    """Raise an alarm if all frames are almost black.

    Args:
        peak: Highest byte of the training frames.
    """
    if peak >= LOWEST_PEAK:
        return []
    return [
        Alarm(
            "dark_frames",
            f"the highest byte of the frames is {peak} of 255, so they are black to the network: "
            "perhaps their values range from 0 to 1, not from 0 to 255.",
            "collect the frames again with value_range=(0, 1), or with the range that they have",
        )
    ]


def settled(step: int, total_steps: int) -> bool:
    """Whether a measure after `step` updates shows what the model learns."""
    long = step >= SETTLED_UPDATES and step >= SETTLED_SHARE * total_steps
    return long or step >= max(total_steps, FIRST_UPDATES)


def check_skipped(skipped: int) -> list[Alarm]:
    """Raise an alarm if updates of the last epoch were skipped.

    Args:
        skipped: Number of skipped updates.
    """
    if not skipped:
        return []
    return [
        Alarm(
            "not_finite",
            f"{skipped} updates of this epoch were skipped, because loss or gradient was not a "
            "finite number.",
            "lower the learning_rate",
        )
    ]


class AlarmPrinter:
    """Prints each alarm of a training the first time that it is raised.

    Args:
        prints: Whether this process prints.
    """

    def __init__(self, *, prints: bool = True) -> None:
        self._prints = prints
        self._printed: set[str] = set()

    def print(self, alarms: list[Alarm]) -> None:
        """Print the alarms whose names were not printed yet."""
        for alarm in alarms:
            if self._prints and alarm.name not in self._printed:
                self._printed.add(alarm.name)
                write_line(str(alarm))
