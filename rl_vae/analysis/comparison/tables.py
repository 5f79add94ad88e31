"""Tables of a comparison in Markdown, and the conclusions that its data support."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rl_vae.analysis.comparison.summary import SIGNIFICANCE, ComparisonSummary
from rl_vae.system import html
from rl_vae.system.estimate import Estimate

COLUMNS = ("rate", "distortion", "active_units", "state_linear", "state_mlp", "mig", "sap")
"""Scores with a column in the first table, if they were measured."""
GROUPS = {"codes": "all codes", "betas": "the betas alone"}
"""Groups of runs in which scores are correlated with return."""


def conclusions(summary: ComparisonSummary) -> list[str]:
    """What the data support, one sentence each."""
    return list(_conclusions(summary))


def tables(summary: ComparisonSummary) -> str:
    """All tables in Markdown, then the conclusions."""
    lines: list[str] = []
    in_table = False
    for line in _lines(summary):
        if isinstance(line, str):
            lines.append(line)
        else:
            lines.append(f"| {' | '.join(line)} |")
            if not in_table:
                lines.append("|---" * len(line) + "|")
        in_table = not isinstance(line, str)
    return "\n".join(lines)


def tables_html(summary: ComparisonSummary) -> str:
    """All tables and conclusions, for a notebook."""
    return html.tables("Comparison", _lines(summary))


def _lines(summary: ComparisonSummary) -> Iterator[str | list[str]]:
    """Tables, in which a list is a row, and sentences."""
    yield from _system_table(summary)
    yield ""
    yield from _pair_table(summary)
    yield ""
    if any(summary.correlations.values()):
        yield from _correlation_table(summary)
        yield ""
    yield from (f"- {sentence}" for sentence in _conclusions(summary))


def _conclusions(summary: ComparisonSummary) -> Iterator[str]:
    if summary.missing:
        yield f"Not finished and not in these figures: {', '.join(summary.missing)}."
    if not summary.systems:
        return
    counts = sorted({system.n for system in summary.systems.values()})
    if len(counts) > 1:
        yield f"Each system has {counts[0]} to {counts[-1]} seeds."
    else:
        yield f"Each system has {counts[0]} seed{'s' * (counts[0] > 1)}."
    yield "The conclusions hold for these settings, this environment and this number of steps."

    # Differences in return.
    better: dict[str, list[str]] = {}
    equal = []
    for pair in summary.pairs:
        if pair.difference == "not significant":
            equal.append(f"{pair.a} and {pair.b}")
        else:
            winner, other = (pair.a, pair.b) if pair.difference == "a" else (pair.b, pair.a)
            better.setdefault(winner, []).append(other)
    for name in summary.systems:
        if name in better:
            yield f"{name} returned more than {', '.join(better[name])}."
    if equal:
        yield f"No significant difference: {'; '.join(equal)}."
    if summary.pairs:
        by_chance = len(summary.pairs) * SIGNIFICANCE
        yield (
            f"{len(summary.pairs)} pairs were tested. If all systems were equal, the tests would "
            f"find up to {by_chance:.1f} differences by chance."
        )

    # Correlations of scores with return.
    for group, label in GROUPS.items():
        by_score = {
            name: rho
            for name, rho in summary.correlations.get(group, {}).items()
            if not _is_single_factor(name)
        }
        clear = [f"{n} ({r.value:+.2f})" for n, r in by_score.items() if r.low > 0 or r.high < 0]
        if by_score:
            listed = f": {', '.join(clear)}" if clear else ""
            yield (
                f"In {label}, {len(clear)} of {len(by_score)} scores have a rank correlation with "
                f"return whose interval leaves out 0{listed}."
            )
    if any(summary.correlations.values()):
        yield (
            "The intervals of correlations are not corrected for multiple tests: of 20 scores, one "
            "leaves out 0 by chance."
        )


def _system_table(summary: ComparisonSummary) -> Iterator[str | list[str]]:
    measured = {name for system in summary.systems.values() for name in system.scores}
    columns = [name for name in COLUMNS if name in measured]
    heads = ["system", "seeds", "return (IQM)", "95 %", "env steps", "seconds"]
    yield [*heads, *(name.replace("_", " ") for name in columns)]
    for name, system in summary.systems.items():
        value, low, high = system.returns
        yield [
            name,
            str(system.n),
            _number(value),
            f"{_number(low)} to {_number(high)}" if np.isfinite(low) else "none",
            f"{system.agent_steps + system.pretraining_frames:,}",
            f"{system.seconds:.0f}",
            *(_number(system.scores[c].value) if c in system.scores else "" for c in columns),
        ]
    yield ""
    yield "Env steps: the steps of the agent and of the frames that the code was trained on."


def _pair_table(summary: ComparisonSummary) -> Iterator[str | list[str]]:
    names = list(summary.systems)
    by_name = {(pair.a, pair.b): pair for pair in summary.pairs}
    yield ["P(row returns more than column)", *names]
    for row in names:
        entries = []
        for column in names:
            pair = by_name.get((row, column)) or by_name.get((column, row))
            if pair is None:
                entries.append("")
                continue
            value = pair.probability.value
            star = "" if pair.difference == "not significant" else "*"
            entries.append(f"{value if pair.a == row else 1 - value:.2f}{star}")
        yield [row, *entries]
    yield ""
    yield f"*: the 95 % interval leaves out one half and p < {SIGNIFICANCE:g}."


def _correlation_table(summary: ComparisonSummary) -> Iterator[str | list[str]]:
    yield ["score", *(f"rank correlation with return, {name}" for name in GROUPS.values())]
    names = {name for by_score in summary.correlations.values() for name in by_score}
    for score in sorted(names):
        if not _is_single_factor(score):
            yield [score, *(_rho(summary.correlations[g].get(score)) for g in GROUPS)]
    yield ""
    yield "Spearman's rho, with 95 % intervals over systems and seeds."


def _is_single_factor(score: str) -> bool:
    """Whether a score is the skill of one factor; only the means over factors are listed."""
    return score.startswith(("state_linear_", "state_mlp_"))


def _rho(rho: Estimate | None) -> str:
    if rho is None or not np.isfinite(rho.value):
        return ""
    if not np.isfinite(rho.low):
        return f"{rho.value:+.2f} (no interval)"
    return f"{rho.value:+.2f} ({rho.low:+.2f} to {rho.high:+.2f})"


def _number(value: float) -> str:
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"
