"""Sections of the report's page about a comparison: the folder that `rl-vae compare` writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.analysis.comparison.tables import GROUPS
from rl_vae.analysis.report.charts import Interval, Line, interval_chart, line_chart, number
from rl_vae.analysis.report.model_sections import columns_of
from rl_vae.analysis.report.parts import Chart, Group, Section, Sentences, Table
from rl_vae.errors import FolderError
from rl_vae.system import strict_json

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


class ComparisonFolder:
    """A comparison as read from its folder.

    Args:
        path: The folder.

    Raises:
        FolderError: if the folder is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "comparison.json").is_file():
            raise FolderError(
                f"There is no comparison at {path}.",
                expected="a folder of rl-vae compare, with the file comparison.json",
                got="a folder without comparison.json" if path.is_dir() else "no such folder",
                remedy="create a comparison with rl-vae compare",
            )
        self._config = strict_json.read_object(path / "config.json")
        self._summary = strict_json.read_object(path / "comparison.json")
        self._runs = [
            strict_json.read_object(file) for file in sorted((path / "runs").glob("*.json"))
        ]
        try:
            self.systems = [str(name) for name in self._config["systems"]]
            self.betas = [name for name in self.systems if name.startswith("beta")]
            self.env_id = str(self._config["env_id"])
            self.seeds = [int(seed) for seed in self._config["seeds"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FolderError.damaged(
                path / "config.json", "a comparison's settings", error
            ) from error

    def models(self) -> list[Path]:
        """One model of each beta: that of the first finished seed."""
        models = []
        for system in self.betas:
            folders = [self.path / "models" / f"{system}-seed{seed}" for seed in self.seeds]
            models += [folder for folder in folders if (folder / "config.json").is_file()][:1]
        return models

    def agent_of(self, model: Path) -> Path | None:
        """The agent that was trained on a model's codes."""
        folder = self.path / "agents" / model.name
        return folder if (folder / "config.json").is_file() else None

    def sections(self) -> list[Section]:
        """Returns, scores, and correlations of scores with returns.

        Raises:
            FolderError: if comparison.json or a run is damaged.
        """
        try:
            sections = [self._return_section(), self._score_section(), self._correlation_section()]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise FolderError.damaged(
                self.path / "comparison.json", "the summary of a comparison", repr(error)
            ) from error
        return [section for section in sections if section is not None]

    def _colour(self, system: str) -> int:
        return self.systems.index(system)

    def _finished(self) -> dict[str, Mapping[str, Any]]:
        """Summary of each system with a finished seed."""
        systems = self._summary["systems"]
        return {name: systems[name] for name in self.systems if systems.get(name, {}).get("n")}

    def _return_section(self) -> Section | None:
        systems = self._finished()
        if not systems:
            return None
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
        costs = Table(
            ["system", "environment steps, total", "seconds per seed, code and agent"],
            [[name, _float(s["env_steps"]), _float(s["seconds"])] for name, s in systems.items()],
            title="Cost",
        )
        conclusions = [str(sentence) for sentence in self._summary["conclusions"]]
        return Section(
            "returns",
            "Return",
            f"Agents in {self.env_id} with the same recipe. A system is one kind of observation.",
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
            for run in self._runs
            if run["system"] == system and run.get(key)
        ]
        if not curves:
            return [], []
        first, last = max(c[0, 0] for c in curves), min(c[-1, 0] for c in curves)
        steps = np.unique(np.concatenate([c[:, 0] for c in curves]))
        steps = steps[(steps >= first) & (steps <= last)]
        mean = np.mean([np.interp(steps, *c.T) for c in curves], axis=0)
        return steps.tolist(), mean.tolist()

    def _score_section(self) -> Section | None:
        scores = {name: one["scores"] for name, one in self._finished().items() if one["scores"]}
        shown = [key for key in SCORES if any(key in own for own in scores.values())]
        if not shown:
            return None
        rows = [[SCORES[key], *(_entry(own.get(key)) for own in scores.values())] for key in shown]
        groups = [Group([Table(["score", *scores], rows)])]
        if charts := self._rate_distortion(scores):
            groups.append(Group(charts, "cards two"))
        return Section(
            "scores",
            "Scores of the codes",
            "Scores are measured before any agent is trained. Means over seeds, with the lowest "
            "and the highest seed in brackets.",
            groups,
        )

    def _rate_distortion(self, scores: Mapping[str, Mapping[str, Any]]) -> list[Chart]:
        marks = []
        for name, own in scores.items():
            if name in self.betas and {"rate", "distortion"} <= set(own):
                y, low, high = ([bound] for bound in _bounded(own["distortion"], "mean"))
                rate = [_float(own["rate"]["mean"])]
                marks.append(Line(name, rate, y, low, high, self._colour(name), marks=True))
        if not marks:
            return []
        points = sorted((line.x[0], line.y[0]) for line in marks)
        return [
            line_chart(
                "Rate and distortion, all seeds",
                [Line("in order of rate", *columns_of(points), colour=6), *marks],
                xlabel="rate, nats per frame",
                ylabel="distortion, nats per frame",
                caption="Bars: from the lowest seed to the highest.",
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


def _entry(score: Mapping[str, Any] | None) -> str:
    if score is None or score.get("mean") is None:
        return "–"
    mean, low, high = _bounded(score, "mean")
    return number(mean) + (f" ({number(low)} to {number(high)})" if math.isfinite(low) else "")


def _bounded(estimate: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    """A value with its interval."""
    return _float(estimate[key]), _float(estimate["low"]), _float(estimate["high"])


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
