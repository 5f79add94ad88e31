"""scorecard: comparisons and velocities, from given scores."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rl_vae import Scorecard
from rl_vae.analysis.bootstrap import BootstrapEstimate
from rl_vae.analysis.probe_data import Target
from rl_vae.analysis.probes import PROBES
from rl_vae.training.evaluate import HeldOut

CODES = ("vae", "one frame", "random", "pca", "pixels")


def estimate(value: float, low: float, high: float, spread: float = 0.1) -> BootstrapEstimate:
    """A score; estimates with the same spread differ by the same amount in every resample."""
    draws = value + np.random.default_rng(0).normal(0, spread, 1000)
    return BootstrapEstimate(value, low, high, draws)


def make_card(score: Callable[[str, str], BootstrapEstimate], name: str = "reward") -> Scorecard:
    """A scorecard with one target, and scores by probe and code."""
    errors = {code: estimate(9.0, 8.0, 10.0) for code in ("median_frame", "vae", *CODES[2:])}
    return Scorecard(
        held_out=HeldOut(5.0, 3.0, 2.0, None, None, 0.1, 2, (1.0, 2.0), None, None, None, {}),
        latents=4,
        stack=2,
        train=(100, 10),
        test=(50, 5),
        targets=(Target(name, np.zeros(1), 0),),
        probes={(kind, code, name): score(kind, code) for kind in PROBES for code in CODES},
        moving_errors=errors,
        moving_share=0.5,
        dropped={"constant_factor": "constant"},
        notes=("A note",),
    )


def test_scores_of_heads_are_shown() -> None:
    """Heads of the training have a line in the text and figures; without heads there are none."""
    card = make_card(lambda kind, code: estimate(0.5, 0.4, 0.6))
    headed = replace(card, heads={"reward_r2": 0.75, "done_precision": 0.5})
    line = "Heads of the training, on its held-out frames: reward_r2 0.75, done_precision 0.50"
    assert line in str(headed).splitlines() and "Heads" not in str(card)
    figures = headed.figures()
    assert (figures["head_reward_r2"], figures["head_done_precision"]) == (0.75, 0.5)
    assert set(figures) - set(card.figures()) == {"head_reward_r2", "head_done_precision"}


def test_codes_are_compared_on_the_same_resamples() -> None:
    """A small difference in every resample is better or worse; equal scores are not different."""
    values = {"vae": 0.9, "one frame": 0.9, "random": 0.9, "pca": 0.89, "pixels": 0.95}
    card = make_card(lambda kind, code: estimate(values[code], 0.7, 1.0))
    tail = "; no clear difference: moving pixels"
    assert card.comparisons() == [
        "vae against random: no clear difference: reward, moving pixels",
        f"vae against pca: better: reward{tail}",
        f"vae against pixels: worse: reward{tail}",
    ]


def test_a_target_that_neither_code_holds_is_not_compared() -> None:
    """If neither interval is above chance, the target is not readable from either code."""
    card = make_card(lambda kind, code: estimate(-0.1, -0.2, -0.05))
    assert all("not readable from either: reward" in line for line in card.comparisons())


def test_the_better_probe_of_each_code_is_compared() -> None:
    """A code that only the MLP reads well is better than a code that both probes read less well."""
    strong, weak, middle = (estimate(value, value, value) for value in (0.9, 0.1, 0.5))

    def score(kind: str, code: str) -> BootstrapEstimate:
        return middle if code != "vae" else strong if kind == "mlp" else weak

    card = make_card(score)
    assert card.best_probe("vae", "reward") is strong
    assert "vae against pca: better: reward" in card.comparisons()[1]


def test_a_velocity_is_recoverable_if_its_interval_is_above_a_half() -> None:
    """Velocities are named by their factor; the lower end of the better probe decides."""

    def card(low: float) -> Scorecard:
        good, poor = estimate(0.8, low, 0.9), estimate(0.1, 0.0, 0.2)
        return make_card(lambda k, c: good if (k, c) == ("mlp", "vae") else poor, "velocity_x")

    assert card(0.6).velocities() == {"velocity_x": (0.1, 0.8, True)}
    assert card(0.4).velocities() == {"velocity_x": (0.1, 0.8, False)}
    assert "velocity_x: R2 0.10 from one frame, 0.80 from 2: recoverable" in str(card(0.6))
    assert make_card(lambda kind, code: estimate(0.5, 0.4, 0.6)).velocities() == {}


def test_the_text_names_dropped_targets_and_notes() -> None:
    """The text ends with the targets that were left out, the reasons and the notes."""
    text = str(make_card(lambda kind, code: estimate(0.93, 0.91, -20.0)))
    assert text.endswith("Left out: constant_factor (constant)\nA note")
    assert ".93 (.91 -9.90)" in text and "ELBO none" in text
