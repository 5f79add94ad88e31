"""Sections of the report's page about a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_vae.analysis.comparison.tables import GROUPS
from rl_vae.analysis.report.charts import (
    Interval,
    Line,
    colour_key,
    interval_chart,
    line_chart,
    line_keys,
    marker_key,
)
from rl_vae.analysis.report.comparison_folder import ComparisonFolder
from rl_vae.analysis.report.measure_sections import columns_of
from rl_vae.analysis.report.parts import Bounded, Chart, Entry, Group, Section, Sentences, Table
from rl_vae.errors import FolderError
from rl_vae.system.estimate import t_interval

SCORES = {
    "rate": "rate, nats per frame",
    "distortion": "distortion, nats per frame",
    "mse": "mean squared error",
    "active_units": "active latents",
    "moving_error": "error on moving pixels",
    "state_linear": "state, linear probe (R²)",
    "state_mlp": "state, MLP probe (R²)",
    "action_linear": "action, linear probe",
    "action_mlp": "action, MLP probe",
    "reward_linear": "reward, linear probe",
    "reward_mlp": "reward, MLP probe",
    "mig": "MIG",
    "mig_pruned": "MIG, pruned",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "sap": "SAP",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "irs": "IRS",
    "total_correlation": "total correlation",
}
"""Scores that are shown, in this order, with their labels."""


def comparison_sections(folder: ComparisonFolder) -> list[Section]:
    """Returns, scores, and correlations of scores with returns.

    Raises:
        FolderError: if comparison.json or a run is damaged.
    """
    try:
        sections = _Sections(folder).make()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FolderError.damaged(
            folder.path / "comparison.json", "the summary of a comparison", repr(error)
        ) from error
    return [section for section in sections if section is not None]


class _Sections:
    """Sections of one comparison."""

    def __init__(self, folder: ComparisonFolder) -> None:
        self._folder, self._summary = folder, folder.summary

    def make(self) -> list[Section | None]:
        return [self._return_section(), self._score_section(), self._correlation_section()]

    def _colour(self, system: str) -> int:
        return self._folder.colours[system]

    def _finished(self) -> dict[str, Mapping[str, Any]]:
        """Summary of each system with a finished seed."""
        systems = self._summary["systems"]
        return {
            name: systems[name] for name in self._folder.systems if systems.get(name, {}).get("n")
        }

    def _return_section(self) -> Section | None:
        systems = self._finished()
        if not systems:
            return None
        # Charts of returns
        intervals = [
            Interval(f"{name} ({one['n']})", *_bounded(one["return"], "iqm"), self._colour(name))
            for name, one in systems.items()
        ]
        charts = [
            interval_chart(
                "Return after training",
                intervals,
                xlabel="interquartile mean of the return",
                caption="Number of seeds in brackets. Bars: 95 %, stratified bootstrap.",
            ),
            *self._curve_charts(list(systems)),
            *self._pair_chart(),
        ]
        # Costs and conclusions
        costs = Table(
            ["system", "environment steps, total", "seconds per seed, code and agent"],
            [[name, _float(s["env_steps"]), _float(s["seconds"])] for name, s in systems.items()],
            title="Cost",
        )
        conclusions = [str(sentence) for sentence in self._summary["conclusions"]]
        return Section(
            "returns",
            "Return",
            f"Agents in {self._folder.env_id} with the same recipe. "
            "A system is one kind of observation.",
            [Group([*charts, costs, Sentences("Conclusions", conclusions)], "cards two")],
        )

    def _curve_charts(self, systems: list[str]) -> list[Chart]:
        """Learning curves, during training and in evaluations."""
        charts = []
        for key, title in (("training_curve", "Training episodes"), ("curve", "Evaluations")):
            lines = [Line(name, *self._mean_curve(name, key), colour=self._colour(name))
                     for name in systems]  # fmt: skip
            if any(len(line.x) > 1 for line in lines):
                charts.append(
                    line_chart(
                        title,
                        lines,
                        xlabel="environment steps of the agent",
                        ylabel="return, mean over seeds",
                        caption="Without the frames that a code was trained on.",
                    )
                )
        return charts

    def _pair_chart(self) -> list[Chart]:
        intervals = [
            Interval(
                f"{pair['a']} > {pair['b']}",
                *_bounded(pair, "probability"),
                self._colour(str(pair["a"])),
            )
            for pair in self._summary["pairs"]
        ]
        if not intervals:
            return []
        return [
            interval_chart(
                "Probability of improvement",
                intervals,
                xlabel="share of pairs of seeds",
                caption="One half means no difference. Bars: 95 %.",
            )
        ]

    def _mean_curve(self, system: str, key: str) -> tuple[list[float], list[float]]:
        """Mean over seeds, on the steps that all seeds have in common."""
        curves = [
            np.array(run[key], np.float64).reshape(-1, 2)
            for run in self._folder.runs_of(system)
            if run.get(key)
        ]
        if not curves:
            return [], []
        first, last = max(c[0, 0] for c in curves), min(c[-1, 0] for c in curves)
        steps = np.unique(np.concatenate([c[:, 0] for c in curves]))
        steps = steps[(steps >= first) & (steps <= last)]
        mean = np.mean([np.interp(steps, *c.T) for c in curves], axis=0)
        return steps.tolist(), mean.tolist()

    def _score_section(self) -> Section | None:
        scores = {name: scores for name in self._folder.systems if (scores := self._scores(name))}
        shown = [key for key in SCORES if any(key in own for own in scores.values())]
        if not shown:
            return None
        rows: list[list[Entry]] = [
            [_title(name, max(map(len, own.values()))), *(_over_seeds(own.get(k)) for k in shown)]
            for name, own in scores.items()
        ]
        table = Table(["", *(SCORES[key] for key in shown)], rows, file="scores of the codes")
        groups = [Group([table])]
        if charts := self._rate_distortion():
            groups.append(Group(charts, "cards two"))
        return Section(
            "scores",
            "Scores of the codes",
            "Scores are measured before any agent is trained. Means over seeds, with 95 % "
            "intervals, Student's t over the seeds.",
            groups,
        )

    def _scores(self, system: str) -> dict[str, list[float]]:
        """Scores of a system's finished runs, by name."""
        by_name: dict[str, list[float]] = {}
        for run in self._folder.runs_of(system):
            for name, value in (run.get("scores") or {}).items():
                if value is not None:
                    by_name.setdefault(name, []).append(float(value))
        return by_name

    def _rate_distortion(self) -> list[Chart]:
        """A mark for each beta and seed, and a line through the means of the betas."""
        # Marks and means of each beta
        marks, means = [], []
        for name in self._folder.betas:
            points = [
                (
                    int(run["seed"]),
                    _float(run["scores"]["rate"]),
                    _float(run["scores"]["distortion"]),
                )
                for run in self._folder.runs_of(name)
                if {"rate", "distortion"} <= set(run.get("scores") or {})
            ]
            marks += [
                Line(
                    f"{name}-seed{seed}",
                    [rate],
                    [distortion],
                    colour=self._colour(name),
                    marks=True,
                    marker=self._folder.seeds.index(seed),
                )
                for seed, rate, distortion in points
            ]
            if points:
                means.append(tuple(np.mean([point[1:] for point in points], axis=0).tolist()))
        if not marks:
            return []
        # The chart, with colours and forms in its legend
        legend = [colour_key(self._colour(name), name) for name in self._folder.betas]
        legend += [marker_key(k, f"seed {seed}") for k, seed in enumerate(self._folder.seeds)]
        lines = [Line("means, in order of beta", *columns_of(means), colour=6), *marks]
        legend += line_keys(lines)
        return [
            line_chart(
                "Rate and distortion, all seeds",
                lines,
                xlabel="rate, nats per frame",
                ylabel="distortion, nats per frame",
                legend=legend,
            )
        ]

    def _correlation_section(self) -> Section | None:
        charts = []
        for group, label in GROUPS.items():
            by_score = self._summary["correlations"].get(group) or {}
            intervals = [
                Interval(SCORES[key], *_bounded(by_score[key], "rho"))
                for key in SCORES
                if key in by_score and by_score[key].get("rho") is not None
            ]
            if intervals:
                charts.append(
                    interval_chart(
                        f"Rank correlation with return, {label}",
                        intervals,
                        xlabel="Spearman's rho",
                        caption="0 means no correlation. Bars: 95 %.",
                    )
                )
        if not charts:
            return None
        return Section(
            "correlations",
            "Scores and return",
            "Each run, one system with one seed, is a point. An interval that holds 0 supports no "
            "conclusion.",
            [Group(charts, "cards two")],
        )


def _title(name: str, n: int) -> str:
    return name if n == 1 else f"{name}, {n} seeds"


def _over_seeds(values: list[float] | None) -> Entry:
    return Bounded(*t_interval(values)) if values else "not measured"


def _bounded(estimate: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    """A value with its interval."""
    return _float(estimate[key]), _float(estimate["low"]), _float(estimate["high"])


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
