"""Study: what a folder of `rl-vae compare` found, as sections of the page.

Its files are read as they are written: config.json (what is compared), comparison.json (what came
out), cells/NAME.json (one system with one seed).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.analysis.report import charts
from rl_vae.analysis.report.charts import Line, Spot, number
from rl_vae.analysis.report.sections import Section
from rl_vae.errors import FolderError
from rl_vae.system import files

SCORES = {
    "rate": "rate, nats a frame",
    "distortion": "distortion, nats a frame",
    "mse": "mean squared error",
    "active_units": "active latents",
    "moving_error": "error on moving pixels",
    "state_linear": "state, linear probe (R²)",
    "state_mlp": "state, small MLP (R²)",
    "action_linear": "action, linear probe",
    "action_mlp": "action, small MLP",
    "reward_linear": "reward, linear probe",
    "reward_mlp": "reward, small MLP",
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
"""The scores that are shown, in this order, and what they are called."""


class Study:
    """A comparison that was read.

    Args:
        path: Its folder.

    Raises:
        ArtifactError: where it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "comparison.json").is_file():
            raise FolderError(
                f"There is no comparison at {path}.",
                expected="a folder that rl-vae compare wrote, with comparison.json in it",
                got="a folder without it" if path.is_dir() else "no such folder",
                remedy="make one with rl-vae compare",
            )
        self.config = files.read_object(path / "config.json")
        self.found = files.read_object(path / "comparison.json")
        self.cells = [files.read_object(file) for file in sorted((path / "cells").glob("*.json"))]
        try:
            self.systems = [str(name) for name in self.config["systems"]]
            self.betas = [name for name in self.systems if name.startswith("beta")]
            self.env_id = str(self.config["env_id"])
            self.seeds = [int(seed) for seed in self.config["seeds"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise files.damaged(path / "config.json", "what is compared", error) from error

    def models(self) -> list[Path]:
        """One model of each beta: that of the first seed which is there."""
        found = []
        for system in self.betas:
            there = [self.path / "models" / f"{system}-seed{seed}" for seed in self.seeds]
            found += [folder for folder in there if (folder / "config.json").is_file()][:1]
        return found

    def agent_of(self, model: Path) -> Path | None:
        """The agent that learned from a model."""
        folder = self.path / "agents" / model.name
        return folder if (folder / "config.json").is_file() else None

    def sections(self) -> list[Section]:
        """Returns, learning curves, and what the scores tell of them.

        Raises:
            ArtifactError: where comparison.json or a cell is damaged.
        """
        try:
            made = [self._returns(), self._scores(), self._correlations()]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise files.damaged(
                self.path / "comparison.json", "what rl-vae compare writes", repr(error)
            ) from error
        return [section for section in made if section is not None]

    def _colour(self, system: str) -> int:
        return self.systems.index(system)

    def _known(self) -> dict[str, Mapping[str, Any]]:
        """Systems with a finished seed, in their order."""
        found = self.found["systems"]
        return {name: found[name] for name in self.systems if found.get(name, {}).get("n")}

    def _returns(self) -> Section | None:
        known = self._known()
        if not known:
            return None
        spots = [
            Spot(
                f"{name} ({said['n']})",
                *_with_ends(said["return"], "iqm"),
                self._colour(name),
            )
            for name, said in known.items()
        ]
        parts = [
            charts.spots(
                "Return after training",
                spots,
                xlabel="interquartile mean of the return",
                caption="In brackets the number of seeds. Bars: 95 %, stratified bootstrap.",
            )
        ]
        for key, title in (("training_curve", "While they learn"), ("curve", "Evaluations")):
            lines = [Line(name, *self._mean_curve(name, key), colour=self._colour(name))
                     for name in known]  # fmt: skip
            if any(len(line.x) > 1 for line in lines):
                parts.append(
                    charts.lines(
                        title,
                        lines,
                        xlabel="environment steps of the agent",
                        ylabel="return, mean of the seeds",
                        caption="Frames that a code was trained on are not counted here.",
                    )
                )
        steps = [
            [name, _number(said["env_steps"]), _number(said["seconds"])]
            for name, said in known.items()
        ]
        table = charts.table(
            ["system", "environment steps, all", "seconds a seed, code and agent"], steps
        )
        cost = f'<div class="card"><h3>What each cost</h3><div class="scroll">{table}</div></div>'
        sentences = "".join(f"<li>{escape(str(line))}</li>" for line in self.found["sentences"])
        missing = self.found["missing"]
        if missing:
            sentences += f"<li>Not finished: {escape(', '.join(map(str, missing)))}</li>"
        said = f'<div class="card"><h3>What the data support</h3><ul>{sentences}</ul></div>'
        return Section(
            "returns",
            "Return",
            f"Agents of {self.env_id}, each from what one system makes of the same frames.",
            f'<div class="cards two">{"".join(parts)}{self._improvement()}{cost}{said}</div>',
        )

    def _improvement(self) -> str:
        drawn = [
            Spot(
                f"{pair['a']} > {pair['b']}",
                *_with_ends(pair, "probability"),
                self._colour(str(pair["a"])),
            )
            for pair in self.found["improvement"]
        ]
        if not drawn:
            return ""
        return charts.spots(
            "Probability of improvement",
            drawn,
            xlabel="share of pairs of seeds",
            caption="One half: no difference. Bars: 95 %.",
        )

    def _mean_curve(self, system: str, key: str) -> tuple[list[float], list[float]]:
        """The mean over seeds, on the steps where all have been."""
        curves = [
            np.array(cell[key], np.float64).reshape(-1, 2)
            for cell in self.cells
            if cell["system"] == system and cell.get(key)
        ]
        if not curves:
            return [], []
        first, last = max(c[0, 0] for c in curves), min(c[-1, 0] for c in curves)
        steps = np.unique(np.concatenate([c[:, 0] for c in curves]))
        steps = steps[(steps >= first) & (steps <= last)]
        mean = np.mean([np.interp(steps, *c.T) for c in curves], axis=0)
        return steps.tolist(), mean.tolist()

    def _scores(self) -> Section | None:
        known = {name: said for name, said in self._known().items() if said["scores"]}
        shown = [key for key in SCORES if any(key in said["scores"] for said in known.values())]
        if not shown:
            return None
        rows = [[SCORES[key], *(_cell(s["scores"].get(key)) for s in known.values())]
                for key in shown]  # fmt: skip
        table = charts.table(["score", *known], rows)
        body = f'<div class="card scroll" tabindex="0" role="group" aria-label="Scores">{table}'
        points = [
            Line(
                name,
                [_number(said["scores"]["rate"]["mean"])],
                [_number(said["scores"]["distortion"]["mean"])],
                [_number(said["scores"]["distortion"]["low"])],
                [_number(said["scores"]["distortion"]["high"])],
                self._colour(name),
                marks=True,
            )
            for name, said in known.items()
            if name in self.betas and {"rate", "distortion"} <= set(said["scores"])
        ]
        curve = ""
        if points:
            order = np.argsort([point.x[0] for point in points])
            joint = Line(
                "in order of the rate",
                [points[k].x[0] for k in order],
                [points[k].y[0] for k in order],
                colour=6,
            )
            curve = charts.lines(
                "Rate and distortion, all seeds",
                [joint, *points],
                xlabel="rate, nats a frame",
                ylabel="distortion, nats a frame",
                caption="Bars: from the lowest seed to the highest.",
            )
        return Section(
            "scores",
            "Scores before any agent",
            "Means over seeds; in brackets, from the lowest seed to the highest.",
            f'{body}</div><div class="cards two">{curve}</div>',
        )

    def _correlations(self) -> Section | None:
        parts = []
        for group, title in (("codes", "all codes"), ("betas", "the betas alone")):
            found = self.found["correlations"].get(group) or {}
            spots = [
                Spot(SCORES[key], *_with_ends(found[key], "rho"))
                for key in SCORES
                if key in found and found[key].get("rho") is not None
            ]
            if spots:
                parts.append(
                    charts.spots(
                        f"Rank correlation with return, {title}",
                        spots,
                        xlabel="Spearman's rho",
                        caption="0: the score says nothing of the return. Bars: 95 %.",
                    )
                )
        if not parts:
            return None
        return Section(
            "correlations",
            "Do the scores tell the return?",
            "Each cell, one system with one seed, is a point; an interval that holds 0 supports "
            "no claim.",
            f'<div class="cards two">{"".join(parts)}</div>',
        )


def _cell(said: Mapping[str, Any] | None) -> str:
    if said is None or said.get("mean") is None:
        return "–"
    mean, low, high = _with_ends(said, "mean")
    return number(mean) + (f" ({number(low)} to {number(high)})" if math.isfinite(low) else "")


def _with_ends(said: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    """A value and its interval."""
    return _number(said[key]), _number(said["low"]), _number(said["high"])


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
