"""Summary of the finished runs of a comparison: numbers with intervals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from rl_vae.analysis.aggregates import (
    interquartile_mean,
    probability_of_improvement,
    rank_correlation,
)
from rl_vae.analysis.comparison.config import beta_of_system
from rl_vae.system.estimate import Estimate

SIGNIFICANCE = 0.05
"""Two systems differ if p is below this and the interval leaves out one half."""
MIN_RUNS = 3
"""Smallest number of runs for a rank correlation."""


class SystemSummary(NamedTuple):
    """One system over its seeds."""

    n: int
    """Number of finished seeds."""
    returns: Estimate
    """Interquartile mean of the returns."""
    mean: float
    """Mean of the returns."""
    agent_steps: int
    """Environment steps of an agent."""
    pretraining_frames: int
    """Environment steps of the frames that the code was trained on."""
    seconds: float
    """Mean wall-clock seconds per seed of code and agent, without scores and evaluation."""
    scores: Mapping[str, Estimate]
    """Mean over seeds, with the lowest and the highest seed."""


class SystemPair(NamedTuple):
    """Difference in return between two systems."""

    a: str
    b: str
    probability: Estimate
    """Probability that a run of `a` returns more than a run of `b`."""
    p: float
    """Two-sided Mann-Whitney test, exact if there are no ties; NaN if a system has one seed."""

    @property
    def difference(self) -> str:
        """One of "a", "b" (the system that returned more) and "not significant"."""
        if not self.p < SIGNIFICANCE:
            return "not significant"
        _, low, high = self.probability
        return "a" if low > 0.5 else "b" if high < 0.5 else "not significant"


@dataclass(frozen=True)
class ComparisonSummary:
    """Systems, pairs of systems, and correlations of scores with returns."""

    systems: Mapping[str, SystemSummary]
    pairs: tuple[SystemPair, ...]
    correlations: Mapping[str, Mapping[str, Estimate]]
    """Rank correlation of each score with return: by group of runs ("codes": all codes, "betas"),
    then by score."""
    counts: Mapping[str, Mapping[str, int]]
    """Number of runs in each correlation."""
    missing: tuple[str, ...]
    """Names of the runs that are not finished."""

    def figures(self) -> dict[str, float]:
        """All numbers by flat name."""
        flat: dict[str, float] = {}
        for name, system in self.systems.items():
            flat |= _flat(f"return_{name}", system.returns)
            flat |= {
                f"mean_return_{name}": system.mean,
                f"environment_steps_{name}": system.agent_steps + system.pretraining_frames,
                f"seconds_{name}": system.seconds,
                f"seeds_{name}": system.n,
            }
            flat |= {f"{score}_{name}": value.value for score, value in system.scores.items()}
        for pair in self.pairs:
            flat |= _flat(f"improvement_{pair.a}_over_{pair.b}", pair.probability)
        for group, by_score in self.correlations.items():
            for score, rho in by_score.items():
                flat |= _flat(f"rho_{group}_{score}", rho)
        return flat

    def to_dict(self) -> dict[str, Any]:
        """Content of comparison.json."""
        return {
            "systems": {
                name: {
                    "n": system.n,
                    "return": {**_named(system.returns, "iqm"), "mean": system.mean},
                    "env_steps": system.agent_steps + system.pretraining_frames,
                    "seconds": system.seconds,
                    "scores": {key: _named(e, "mean") for key, e in system.scores.items()},
                }
                for name, system in self.systems.items()
            },
            "pairs": [
                {"a": pair.a, "b": pair.b, "p": pair.p, **_named(pair.probability, "probability")}
                for pair in self.pairs
            ],
            "correlations": {
                group: {
                    score: {**_named(rho, "rho"), "n": self.counts[group][score]}
                    for score, rho in by_score.items()
                }
                for group, by_score in self.correlations.items()
            },
            "missing": list(self.missing),
        }


def summarise_runs(
    runs: Sequence[Mapping[str, Any]], systems: Sequence[str], missing: Sequence[str] = ()
) -> ComparisonSummary:
    """Summarise finished runs.

    Args:
        runs: Results of `run_system`.
        systems: Names of the systems in the order of the tables. A system without a finished run is
            left out.
        missing: Names of the runs that are not finished.
    """
    by_system = {name: [run for run in runs if run["system"] == name] for name in systems}
    by_system = {name: own for name, own in by_system.items() if own}
    groups = {
        "codes": [run for run in runs if run["scores"]],
        "betas": [run for run in runs if beta_of_system(run["system"]) is not None],
    }
    correlations: dict[str, dict[str, Estimate]] = {group: {} for group in groups}
    counts: dict[str, dict[str, int]] = {group: {} for group in groups}
    for group, members in groups.items():
        for score in sorted({name for run in members for name in run["scores"]}):
            scored = [run for run in members if run["scores"].get(score) is not None]
            if len(scored) >= MIN_RUNS:
                correlations[group][score] = rank_correlation(
                    [run["scores"][score] for run in scored],
                    [run["return"] for run in scored],
                    [run["system"] for run in scored],
                )
                counts[group][score] = len(scored)
    return ComparisonSummary(
        systems={name: _summarise_system(own) for name, own in by_system.items()},
        pairs=tuple(
            _compare_pair(a, b, by_system) for a, b in itertools.combinations(by_system, 2)
        ),
        correlations=correlations,
        counts=counts,
        missing=tuple(missing),
    )


def _compare_pair(
    a: str, b: str, by_system: Mapping[str, Sequence[Mapping[str, Any]]]
) -> SystemPair:
    x, y = ([run["return"] for run in by_system[name]] for name in (a, b))
    p = float("nan")
    if min(len(x), len(y)) > 1:
        p = float(stats.mannwhitneyu(x, y, method="auto").pvalue)
    return SystemPair(a, b, Estimate(*probability_of_improvement(x, y)), p)


def _summarise_system(runs: Sequence[Mapping[str, Any]]) -> SystemSummary:
    returns = [run["return"] for run in runs]
    scores = {}
    for name in runs[0]["scores"]:
        values = [v for v in (run["scores"].get(name) for run in runs) if v is not None]
        if values:
            scores[name] = Estimate(float(np.mean(values)), min(values), max(values))
    costs = [sum(run["seconds"].get(stage, 0) for stage in ("code", "agent")) for run in runs]
    return SystemSummary(
        n=len(runs),
        returns=Estimate(*interquartile_mean(returns)),
        mean=float(np.mean(returns)),
        agent_steps=runs[0]["agent_steps"],
        pretraining_frames=runs[0]["pretraining_frames"],
        seconds=float(np.mean(costs)),
        scores=scores,
    )


def _flat(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _named(estimate: Estimate, name: str) -> dict[str, float]:
    return {name: estimate.value, "low": estimate.low, "high": estimate.high}
