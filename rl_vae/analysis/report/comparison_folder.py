"""ComparisonFolder: a comparison as the report reads it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rl_vae.analysis.comparison.config import beta_of_system
from rl_vae.analysis.comparison.result import read_run
from rl_vae.errors import FolderError
from rl_vae.system import strict_json


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
        self.summary = strict_json.read_object(path / "comparison.json")
        self._runs = [read_run(file) for file in sorted((path / "runs").glob("*.json"))]
        try:
            systems = [str(name) for name in self._config["systems"]]
            betas = {name: beta_of_system(name) for name in systems}
            self.betas = [n for n, beta in sorted(betas.items(), key=_by_beta) if beta is not None]
            self.systems = [*self.betas, *(name for name in systems if betas[name] is None)]
            self.env_id = str(self._config["env_id"])
            self.seeds = [int(seed) for seed in self._config["seeds"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FolderError.damaged(
                path / "config.json", "a comparison's settings", error
            ) from error

    @property
    def colours(self) -> dict[str, int]:
        """Number of the colour of each system in all charts."""
        return {name: place for place, name in enumerate(self.systems)}

    def models(self) -> list[Path]:
        """One model of each beta: of its finished seeds the one with the lowest loss."""
        models = []
        for system in self.betas:
            finished = [
                (self._loss(system, seed), place, folder)
                for place, seed in enumerate(self.seeds)
                if ((folder := self._model(system, seed)) / "config.json").is_file()
            ]
            models += [folder for _, _, folder in sorted(finished)[:1]]
        return models

    def _model(self, system: str, seed: int) -> Path:
        return self.path / "models" / f"{system}-seed{seed}"

    def _loss(self, system: str, seed: int) -> float:
        """Distortion plus beta times rate of a run; infinite if they were not measured."""
        beta = beta_of_system(system) or 0.0
        for run in self.runs_of(system):
            rate, distortion = (run["scores"].get(name) for name in ("rate", "distortion"))
            if run["seed"] == seed and rate is not None and distortion is not None:
                return float(distortion + beta * rate)
        return math.inf

    def runs_of(self, system: str) -> list[dict[str, Any]]:
        """Results of the finished runs of a system."""
        return [run for run in self._runs if run["system"] == system]

    def agent_of(self, model: Path) -> Path | None:
        """The agent that was trained on a model's codes."""
        folder = self.path / "agents" / model.name
        return folder if (folder / "config.json").is_file() else None


def _by_beta(item: tuple[str, float | None]) -> float:
    return math.inf if item[1] is None else item[1]
