"""Verdicts: a comparison's standings in words and tables: what the data support, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rl_vae.analysis.aggregates import Estimate
from rl_vae.analysis.comparison.summary import SURE, Standings

SHOWN = ("rate", "distortion", "active_units", "state_linear", "state_mlp", "mig", "sap")
"""Scores that have a column in the table, where they were measured; all are in the JSON."""


def sentences(found: Standings) -> list[str]:
    """What the data support, in words."""
    return list(_sentences(found))


def tables(found: Standings) -> str:
    """Tables in Markdown, and the sentences."""
    return "\n".join(_tables(found))


def _sentences(found: Standings) -> Iterator[str]:
    if found.missing:
        yield f"Not finished, and not in these figures: {', '.join(found.missing)}."
    if not found.systems:
        return
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
        rhos = {n: rho for n, rho in found.correlations.get(group, {}).items() if _main(n)}
        sure = [f"{n} ({r.value:+.2f})" for n, r in rhos.items() if r.low > 0 or r.high < 0]
        if rhos:
            yield (
                f"Over {what}, {len(sure)} of {len(rhos)} scores have a rank correlation with "
                f"return whose interval leaves out 0{': ' if sure else ''}{', '.join(sure)}."
            )
    if any(found.correlations.values()):
        yield "These intervals are taken one by one: of 20 scores one leaves out 0 by chance."


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
        interval = f"{_number(low)} to {_number(high)}" if np.isfinite(low) else "none"
        parts = (name, one.n, _number(value), interval, f"{total:,}")
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
        yield "Spearman, with 95 % intervals over systems and their seeds."
    yield ""
    yield from (f"- {sentence}" for sentence in _sentences(found))


def _rho(rho: Estimate | None) -> str:
    if rho is None or not np.isfinite(rho.value):
        return ""
    if not np.isfinite(rho.low):
        return f"{rho.value:+.2f} (no interval)"
    return f"{rho.value:+.2f} ({rho.low:+.2f} to {rho.high:+.2f})"


def _number(value: float) -> str:
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"
