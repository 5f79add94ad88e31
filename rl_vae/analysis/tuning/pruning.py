"""PruneCallback: reports the evaluations of an agent's training to Optuna, which may end it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from rl_vae.system import strict_json

_KEY = "evaluation/mean_return"  # as the training records it


class PruneCallback(BaseCallback):
    """Reports each evaluation, and ends the training if Optuna says so.

    Args:
        trial: The trial of Optuna.
        unfinished: Folder of the training; evaluations before an interruption are read there.
    """

    def __init__(self, trial: Any, unfinished: Path) -> None:
        super().__init__()
        self._trial, self._unfinished = trial, unfinished

    def _on_training_start(self) -> None:
        for line in strict_json.read_lines(self._unfinished / "progress.jsonl"):
            if "evaluation_return" in line:
                self._trial.report(line["evaluation_return"], line["steps"])

    def _on_rollout_start(self) -> None:
        if _KEY in self.logger.name_to_value:
            self._trial.report(self.logger.name_to_value[_KEY], self.num_timesteps)
            if self._trial.should_prune():
                import optuna

                raise optuna.TrialPruned

    def _on_step(self) -> bool:
        return True
