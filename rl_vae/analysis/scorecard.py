"""Scorecard: the results of `score_encoder`, as numbers, as sentences and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rl_vae.analysis.bootstrap import BootstrapEstimate
from rl_vae.analysis.encodings import BASELINES
from rl_vae.analysis.probe_data import Target
from rl_vae.analysis.probes import PROBES
from rl_vae.system import html
from rl_vae.training.evaluate import HeldOut

RECOVERABLE = 0.5
"""A velocity is recoverable if the lower end of the interval of its R^2 is above this."""
VELOCITY_WORDS = ("velocity", "speed", "qvel")
"""A factor is a velocity if its name contains one of these."""
ONE_FRAME = "one frame"
"""Name of the model's code without a stack."""
MEDIAN_FRAME = "median_frame"
"""Name of the reconstruction that is always the median frame."""


@dataclass(frozen=True)
class Scorecard:
    """Result of `score_encoder`. `str` gives a table, `figures()` the numbers."""

    held_out: HeldOut
    """Rate, distortion, ELBO (nats per frame) and active units, on the test frames."""
    latents: int
    """Number of latents."""
    stack: int
    """Number of codes that a probe receives."""
    train: tuple[int, int]
    """Number of frames and of episodes that probes, PCA and linear decoders are fitted on."""
    test: tuple[int, int]
    """Number of frames and of episodes that everything is measured on."""
    targets: tuple[Target, ...]
    """Targets of the probes: state, reward, done, then the action."""
    probes: Mapping[tuple[str, str, str], BootstrapEstimate]
    """Scores by probe ("linear", "mlp"), code ("vae", "one frame", "random", "pca", "pixels") and
    target: R^2 for numbers, balanced accuracy for classes."""
    moving_errors: Mapping[str, BootstrapEstimate]
    """Root mean square error on moving pixels, of 255, by code; "median_frame": the error of the
    median frame."""
    moving_share: float
    """Share of the pixels that move, 0 to 1."""
    dropped: Mapping[str, str]
    """Targets without a score, and the reason."""
    notes: tuple[str, ...]
    """Remarks on how to read the scores."""
    heads: Mapping[str, float] = field(default_factory=dict)
    """`HEAD_SCORES` of the heads that were trained with the model, on the held-out frames of its
    training; empty if there were none."""

    def figures(self) -> dict[str, float]:
        """All numbers under flat names, such as PROBE_CODE_TARGET, and their _low and _high."""
        held_out = self.held_out
        figures: dict[str, float | None] = {
            **{name: getattr(held_out, name) for name in ("rate", "distortion", "elbo", "mse")},
            "active_units": held_out.active_units,
            "latents": self.latents,
            "stack": self.stack,
            "train_frames": self.train[0],
            "test_frames": self.test[0],
            "test_episodes": self.test[1],
            "moving_share": self.moving_share,
            **{f"head_{name}": value for name, value in self.heads.items()},
        }
        named = {f"moving_error_{code}": error for code, error in self.moving_errors.items()}
        named |= {"_".join(key).replace(" ", "_"): score for key, score in self.probes.items()}
        for name, one in named.items():
            figures |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
        return {name: float("nan") if value is None else value for name, value in figures.items()}

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the codes that the model is compared with."""
        return tuple(code for code in BASELINES if code in self.moving_errors)

    def velocities(self) -> dict[str, tuple[float, float, bool]]:
        """For each velocity, the best R^2 of one frame and of the stack, and if it is recoverable.

        A velocity is recoverable if the lower end of the interval of the better probe is above
        `RECOVERABLE`.
        """
        names = [
            target.name
            for target in self.targets
            if any(word in target.name for word in VELOCITY_WORDS)
        ]
        return {
            name: (
                self.best_probe(ONE_FRAME, name).value,
                self.best_probe("vae", name).value,
                self.best_probe("vae", name).low > RECOVERABLE,
            )
            for name in names
        }

    def best_probe(self, code: str, target: str) -> BootstrapEstimate:
        """Score of the better probe of a code for a target."""
        scores = (self.probes[kind, code, target] for kind in PROBES)
        return max(scores, key=lambda score: score.value)

    def comparisons(self) -> list[str]:
        """One sentence for each baseline: for which targets the model is better or worse.

        The better probes of both codes are compared on the same resampled test episodes. A target
        is not readable if neither interval is above chance.
        """
        sentences = []
        for code in self.baselines:
            targets: dict[str, list[str]] = {}
            for target in self.targets:
                model, other = (self.best_probe(name, target.name) for name in ("vae", code))
                readable = max(model.low, other.low) > target.chance
                word = model.compare(other) if readable else "not readable from either"
                targets.setdefault(word, []).append(target.name)
            # A smaller error is better, so the roles are exchanged.
            word = self.moving_errors[code].compare(self.moving_errors["vae"])
            targets.setdefault(word, []).append("moving pixels")
            words = ("better", "worse", "no clear difference", "not readable from either")
            groups = [f"{word}: {', '.join(targets[word])}" for word in words if word in targets]
            sentences.append(f"vae against {code}: {'; '.join(groups)}")
        return sentences

    def __str__(self) -> str:
        width = max([24, *(len(target.name) + 16 for target in self.targets)])
        return "\n".join(
            line
            if isinstance(line, str)
            else f"{line[0]:{width}}" + "".join(f"{text:>20}" for text in line[1:])
            for line in _lines(self)
        )

    def _repr_html_(self) -> str:
        return html.tables("Scorecard", _lines(self))


def _lines(card: Scorecard) -> Iterator[str | list[str]]:
    """Sizes, one table for each probe, moving pixels, sentences; a list is a row of a table."""
    held_out = card.held_out
    elbo = "none" if held_out.elbo is None else f"{held_out.elbo:.1f}"
    yield (
        f"Test: {card.test[0]:,} frames of {card.test[1]} episodes. Training of the probes: "
        f"{card.train[0]:,} frames of {card.train[1]} other episodes. Brackets: 95 % intervals "
        "over test episodes"
    )
    nats = (
        f"Nats per frame: rate {held_out.rate:.2f}, distortion {held_out.distortion:.1f}, ELBO "
        f"{elbo}; "
    )
    if math.isnan(held_out.distortion):  # no decoder
        nats = ""
    yield f"{nats}{held_out.active_units} of {card.latents} latents active"
    if card.heads:
        scores = ", ".join(f"{name} {value:.2f}" for name, value in card.heads.items())
        yield f"Heads of the training, on its held-out frames: {scores}"
    yield ""
    yield from _tables(card)
    yield ""
    for name, (one_frame, stack, recoverable) in card.velocities().items():
        word = "recoverable" if recoverable else "not reliably recoverable"
        yield f"{name}: R2 {one_frame:.2f} from one frame, {stack:.2f} from {card.stack}: {word}"
    yield from card.comparisons()
    for name, reason in card.dropped.items():
        yield f"Left out: {name} ({reason})"
    yield from card.notes


def _tables(card: Scorecard) -> Iterator[str | list[str]]:
    """A table of scores for each probe, and a row of errors on moving pixels."""
    columns = ("vae", ONE_FRAME, *card.baselines)
    baselines = ("pixels 8x8" if code == "pixels" else code for code in card.baselines)
    heads = (f"vae, stack {card.stack}", f"vae, {ONE_FRAME}", *baselines)
    for kind in PROBES:
        yield [f"{kind} probe", *heads]
        for target in card.targets:
            score = f"balanced, {target.classes}" if target.classes else "R2"
            texts = [_format_score(card.probes[kind, column, target.name]) for column in columns]
            yield [f"{target.name} ({score})", *texts]
        yield ""
    errors = [card.moving_errors.get(code) for code in columns]
    texts = ["-" if error is None else _format_score(error, ".1f") for error in errors]
    yield ["error on moving pixels", *texts]
    yield (
        f"Error of 255; {card.moving_share:.1%} of the pixels move; error of the median frame: "
        f"{card.moving_errors[MEDIAN_FRAME].value:.1f}. random, pca and pixels are reconstructed "
        "with their best linear decoder"
    )


def _format_score(score: BootstrapEstimate, form: str = ".2f") -> str:
    """A score and its interval, such as ".93 (.91 .95)"; values below -9.9 are shown as -9.9."""
    numbers = [f"{max(value, -9.9):{form}}" for value in (score.value, score.low, score.high)]
    value, low, high = (
        number.replace("0.", ".") if number.lstrip("-").startswith("0.") else number
        for number in numbers
    )
    return f"{value} ({low} {high})"
