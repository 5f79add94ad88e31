"""Standings: what the finished cells of a comparison say, with intervals, and no more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from rl_vae.aggregates import (
    Estimate,
    interquartile_mean,
    probability_of_improvement,
    rank_correlation,
)
from rl_vae.cell import beta_of

SHOWN = ("rate", "distortion", "active_units", "state_linear", "state_mlp", "mig", "sap")
"""Scores that have a column in the table, where they were measured; all are in the JSON."""
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
    """What `standings_of` found. `str` of it is the tables."""

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
            "sentences": self.sentences(),
        }

    def sentences(self) -> list[str]:
        """What the data support, in words."""
        return list(_sentences(self))

    def __str__(self) -> str:
        return "\n".join(_tables(self))


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


def _sentences(found: Standings) -> Iterator[str]:
    if found.missing:
        yield f"Not finished, and not in these figures: {', '.join(found.missing)}."
    seeds = {standing.n for standing in found.systems.values()}
    yield (
        f"{min(seeds)} to {max(seeds)} seeds a system. "
        if len(seeds) > 1
        else f"{min(seeds)} seed{'s' * (min(seeds) > 1)} a system. "
    ) + "A verdict holds for these settings, this environment and this many steps."
    told: dict[str, list[str]] = {}
    for one in found.improvements:
        winner, other = (one.a, one.b) if one.verdict == "better" else (one.b, one.a)
        if one.verdict == "not told apart":
            told.setdefault("", []).append(f"{one.a} and {one.b}")
        else:
            told.setdefault(winner, []).append(other)
    for name in found.systems:
        if name in told:
            yield f"{name} returned more than {', '.join(told[name])}."
    if "" in told:
        yield f"Not told apart: {'; '.join(told[''])}."
    if pairs := len(found.improvements):
        yield (
            f"{pairs} pairs were compared; if all systems were equal, up to "
            f"{pairs * SURE:.1f} of them would still be called different."
        )
    for group, what in (("codes", "all codes"), ("betas", "the betas alone")):
        rhos = found.correlations.get(group, {})
        sure = [n for n, rho in rhos.items() if rho.low > 0 or rho.high < 0]
        if rhos:
            named = ", ".join(f"{n} ({rhos[n].value:+.2f})" for n in sure if _main(n))
            yield (
                f"Over {what}, {len(sure)} of {len(rhos)} scores have a rank correlation with "
                f"return whose interval leaves out 0{': ' if named else ''}{named}."
            )


def _main(score: str) -> bool:
    """Whether it is no score of a single factor."""
    return not score.startswith(("state_linear_", "state_mlp_"))


def _tables(found: Standings) -> Iterator[str]:
    measured = {name for standing in found.systems.values() for name in standing.scores}
    shown = [name for name in SHOWN if name in measured]
    yield (
        "| system | seeds | return (IQM) | 95 % | env steps | seconds | "
        + " | ".join(name.replace("_", " ") for name in shown)
        + (" |" if shown else "")
    )
    yield "|---" * (6 + len(shown)) + "|"
    for name, one in found.systems.items():
        scores = [_number(one.scores[s].value) if s in one.scores else "" for s in shown]
        value, low, high = one.returns
        total = one.agent_steps + one.pretraining_frames
        parts = (name, one.n, _number(value), f"{_number(low)} to {_number(high)}", f"{total:,}")
        yield "| " + " | ".join(map(str, [*parts, f"{one.seconds:.0f}", *scores])) + " |"
    yield ""
    yield "Env steps: the agent's and those whose frames the code was trained on."
    yield ""
    yield "| P(row returns more than column) | " + " | ".join(found.systems) + " |"
    yield "|---" * (1 + len(found.systems)) + "|"
    pairs = {(one.a, one.b): one for one in found.improvements}
    for a in found.systems:
        row = []
        for b in found.systems:
            if (a, b) in pairs:
                mark = "" if pairs[a, b].verdict == "not told apart" else "*"
                row.append(f"{pairs[a, b].probability.value:.2f}{mark}")
            elif (b, a) in pairs:
                mark = "" if pairs[b, a].verdict == "not told apart" else "*"
                row.append(f"{1 - pairs[b, a].probability.value:.2f}{mark}")
            else:
                row.append("")
        yield f"| {a} | " + " | ".join(row) + " |"
    yield ""
    yield "Starred: the 95 % interval leaves out one half and p < .05."
    if any(found.correlations.values()):
        yield ""
        yield "| score | rank correlation with return, all codes | betas alone |"
        yield "|---|---|---|"
        for score in sorted({name for rhos in found.correlations.values() for name in rhos}):
            if _main(score):
                cells = [found.correlations[g].get(score) for g in ("codes", "betas")]
                yield f"| {score} | " + " | ".join(_rho(cell) for cell in cells) + " |"
        yield ""
        yield "Spearman, with 95 % intervals over seeds within each system."
    yield ""
    yield from found.sentences()


def _rho(rho: Estimate | None) -> str:
    if rho is None or not np.isfinite(rho.value):
        return ""
    return f"{rho.value:+.2f} ({rho.low:+.2f} to {rho.high:+.2f})"


def _number(value: float) -> str:
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def _flat(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _named(estimate: Estimate, name: str) -> dict[str, float]:
    return {name: estimate.value, "low": estimate.low, "high": estimate.high}
