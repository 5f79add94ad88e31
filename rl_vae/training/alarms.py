"""Alarms: signs that a training goes wrong, each with a cure."""

from __future__ import annotations

import math
from typing import NamedTuple

from tqdm.auto import tqdm

from rl_vae.models.frame_model import FrameModel
from rl_vae.objectives.base import Objective
from rl_vae.training.evaluate import HeldOut, beta_norm

USUAL_BETA_NORM = (1e-6, 1.0)
"""Range of beta_norm that raises no alarm. Published settings lie well inside."""

MAX_BETA = 1000.0
"""Largest beta without an alarm: four times the largest of Higgins et al. 2017 (250, table 1)."""

COLLAPSE_SHARE, COLLAPSE_UPDATES = 0.25, 100
"""Share of the updates, and number of updates, before which an empty code raises no alarm."""

COLLAPSE_CURES = {
    "beta": "lower beta",
    "free_bits": "give each latent free_bits (0.1)",
    "capacity": "raise capacity",
    "adversary": "lower adversary",
    "warm_up": "raise warm_up",
}
"""Cures of an empty code, by the setting of an objective that they change."""


class Alarm(NamedTuple):
    """A sign that a training goes wrong."""

    name: str
    """"beta_norm", "collapse" or "not_finite"."""
    what: str
    """Description of the problem."""
    cure: str
    """Change of the settings that may help."""

    def __str__(self) -> str:
        return f"ALARM {self.name}: {self.what} Cure: {self.cure}."


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
            f"beta {beta:g} is a beta_norm of {norm:.2g}; usual are {low:g} to {high:g} and a beta "
            f"of at most {MAX_BETA:g}: {effect}.",
            "losses here are sums over pixels and latents, so beta 1 is the plain VAE and 4 is "
            "strong; multiply a beta that was chosen for means over pixels by the "
            f"{values:,} values of a frame",
        )
    ]


def check_collapse(
    held_out: HeldOut, objective: Objective, likelihood: str, step: int, total_steps: int
) -> list[Alarm]:
    """Raise an alarm if no latent is active after a quarter of the updates.

    Args:
        held_out: Measures after the last update.
        objective: The loss; the cure names settings that this objective has.
        likelihood: Likelihood of the model.
        step: Number of finished updates.
        total_steps: Number of updates of the whole training.
    """
    settled = step >= COLLAPSE_UPDATES and step >= COLLAPSE_SHARE * total_steps
    if held_out.active_units or not settled:
        return []
    cures = [cure for name, cure in COLLAPSE_CURES.items() if hasattr(objective, name)]
    gaussian = "take" if likelihood == "gaussian" else "take likelihood='gaussian' with"
    cures.append(f"{gaussian} a smaller sigma, so that small differences count")
    return [
        Alarm(
            "collapse",
            f"none of {len(held_out.kl_per_dimension)} latents is active (KL {held_out.rate:.2g} "
            "nats): every frame has the same code.",
            ", or ".join(cures),
        )
    ]


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
                tqdm.write(str(alarm))
