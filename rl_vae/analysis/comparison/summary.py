"""Standings: what the finished cells of a comparison say, with intervals, and no more."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from rl_vae.analysis.aggregates import (
    Estimate,
    interquartile_mean,
    probability_of_improvement,
    rank_correlation,
)
from rl_vae.analysis.comparison.config import beta_of

SURE = 0.05
"""A verdict needs an exact Mann-Whitney p below this as well as an interval beside one half."""


class Standing(NamedTuple):
    """One system over its seeds."""

    n: int
    """Finished seeds."""
    returns: Estimate
    """Interquartile mean."""
    mean: float
    """Of the returns."""
    agent_steps: int
    """Environment steps of an agent."""
    pretraining_frames: int
    """Environment steps whose frames the code was trained on."""
    seconds: float
    """Mean wall-clock of a seed: code and agent, not scores and evaluation."""
    scores: Mapping[str, Estimate]
    """Mean over seeds, lowest, highest."""


class Improvement(NamedTuple):
    """Whether a run of `a` is better than one of `b`."""

    a: str
    b: str
    probability: Estimate
    p: float
    """Of the two-sided Mann-Whitney test, exact without ties; NaN with one seed."""

    @property
    def verdict(self) -> str:
        """One of "better", "worse" and "not told apart"."""
        if not self.p < SURE:
            return "not told apart"
        _, low, high = self.probability
        return "better" if low > 0.5 else "worse" if high < 0.5 else "not told apart"


@dataclass(frozen=True)
class Standings:
    """What `standings_of` found."""

    systems: Mapping[str, Standing]
    improvements: tuple[Improvement, ...]
    correlations: Mapping[str, Mapping[str, Estimate]]
    """Of each score with return: by which codes, "codes" (all) or "betas", then by score."""
    counts: Mapping[str, Mapping[str, int]]
    """Over how many runs each correlation is."""
    missing: tuple[str, ...]
    """Cells that are not finished."""

    def figures(self) -> dict[str, float]:
        """Every number under a flat name."""
        flat: dict[str, float] = {}
        for system, found in self.systems.items():
            flat |= _flat(f"return_{system}", found.returns)
            flat |= {
                f"mean_return_{system}": found.mean,
                f"environment_steps_{system}": found.agent_steps + found.pretraining_frames,
                f"seconds_{system}": found.seconds,
                f"seeds_{system}": found.n,
            }
            flat |= {f"{name}_{system}": value.value for name, value in found.scores.items()}
        for one in self.improvements:
            flat |= _flat(f"improvement_{one.a}_over_{one.b}", one.probability)
        for group, rhos in self.correlations.items():
            for score, rho in rhos.items():
                flat |= _flat(f"rho_{group}_{score}", rho)
        return flat

    def to_dict(self) -> dict[str, Any]:
        """For comparison.json, whose reader is the report."""
        return {
            "systems": {
                name: {
                    "n": found.n,
                    "return": {**_named(found.returns, "iqm"), "mean": found.mean},
                    "env_steps": found.agent_steps + found.pretraining_frames,
                    "seconds": found.seconds,
                    "scores": {key: _named(e, "mean") for key, e in found.scores.items()},
                }
                for name, found in self.systems.items()
            },
            "improvement": [
                {"a": one.a, "b": one.b, "p": one.p, **_named(one.probability, "probability")}
                for one in self.improvements
            ],
            "correlations": {
                group: {
                    score: {**_named(rho, "rho"), "n": self.counts[group][score]}
                    for score, rho in rhos.items()
                }
                for group, rhos in self.correlations.items()
            },
            "missing": list(self.missing),
        }


def standings_of(
    cells: Sequence[Mapping[str, Any]], systems: Sequence[str], missing: Sequence[str] = ()
) -> Standings:
    """Aggregate finished cells.

    Args:
        cells: As `run_cell` returns them.
        systems: In the order of the tables; those without a finished cell are left out.
        missing: Names of cells that are not finished.
    """
    by_system = {name: [cell for cell in cells if cell["system"] == name] for name in systems}
    by_system = {name: mine for name, mine in by_system.items() if mine}
    improvements = []
    for a, b in itertools.combinations(by_system, 2):
        x, y = ([cell["return"] for cell in by_system[name]] for name in (a, b))
        p = float("nan")
        if min(len(x), len(y)) > 1:
            p = float(stats.mannwhitneyu(x, y, method="auto").pvalue)
        improvements.append(Improvement(a, b, probability_of_improvement(x, y), p))
    groups = {
        "codes": [cell for cell in cells if cell["scores"]],
        "betas": [cell for cell in cells if beta_of(cell["system"]) is not None],
    }
    correlations: dict[str, dict[str, Estimate]] = {}
    counts: dict[str, dict[str, int]] = {}
    for group, members in groups.items():
        correlations[group], counts[group] = {}, {}
        for score in sorted({name for cell in members for name in cell["scores"]}):
            known = [cell for cell in members if cell["scores"].get(score) is not None]
            if len(known) < 3:
                continue
            correlations[group][score] = rank_correlation(
                [cell["scores"][score] for cell in known],
                [cell["return"] for cell in known],
                [cell["system"] for cell in known],
            )
            counts[group][score] = len(known)
    standings = {name: _standing(mine) for name, mine in by_system.items()}
    return Standings(standings, tuple(improvements), correlations, counts, tuple(missing))


def _standing(cells: Sequence[Mapping[str, Any]]) -> Standing:
    returns = [cell["return"] for cell in cells]
    scores = {}
    for name in cells[0]["scores"]:
        values = [v for v in (cell["scores"].get(name) for cell in cells) if v is not None]
        if values:
            scores[name] = Estimate(float(np.mean(values)), min(values), max(values))
    return Standing(
        n=len(cells),
        returns=interquartile_mean(returns),
        mean=float(np.mean(returns)),
        agent_steps=cells[0]["agent_steps"],
        pretraining_frames=cells[0]["pretraining_frames"],
        seconds=float(
            np.mean([sum(cell["seconds"].get(k, 0) for k in ("code", "agent")) for cell in cells])
        ),
        scores=scores,
    )


def _flat(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _named(estimate: Estimate, name: str) -> dict[str, float]:
    return {name: estimate.value, "low": estimate.low, "high": estimate.high}
