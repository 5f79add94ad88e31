"""Budgets of minutes: a clock that stops while episodes are played, for study_minutes.py."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Self

from process_family import family, read  # type: ignore[import-not-found]
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.agents.evaluate import MAX_ENVS
from rl_vae.analysis.comparison.runner import machine_seconds
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.sb3 import play
from rl_vae.sb3.play import choose_without_noise

EVALUATION_SET = 5
"""Number of the set of evaluation seeds, which no other benchmark has."""

Player = Callable[[], Sequence[float]]
"""Function that plays episodes of the current policy, and returns their returns."""


class Spent(Exception):
    """The longest budget is spent, and its episodes are played."""


class Meter:
    """Counts the time of a run, and records returns whenever a budget is spent.

    Episodes do not count, nor does the load that they are for the cores.

    Attributes:
        points: One record for each budget that is spent, in the order of the budgets.

    Args:
        budgets: Wall-clock minutes.
        log: Receives one line for each budget.
    """

    def __init__(self, budgets: Sequence[float], log: Callable[[str], None] = print) -> None:
        self._budgets, self._log = sorted(budgets), log
        self._counted, self._began = (0.0, 0.0, 0.0), _now()
        self._runs = False
        self.points: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._began, self._runs = _now(), True
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    @property
    def minutes(self) -> float:
        """Minutes that count so far."""
        since = time.monotonic() - self._began[0] if self._runs else 0.0
        return (self._counted[0] + since) / 60

    @property
    def share(self) -> float:
        """Share of the longest budget that is spent, from 0 to 1."""
        return min(1.0, self.minutes / self._budgets[-1])

    @property
    def due(self) -> bool:
        """Whether a budget is spent that has no record yet."""
        left = self._budgets[len(self.points) :]
        return bool(left) and self.minutes >= left[0]

    def record(self, player: Player | None, decisions: int, *, ended: bool = False) -> None:
        """Play episodes, and record their returns for all budgets that are spent.

        Args:
            player: Plays the current policy; None: there is none yet.
            decisions: Number of decisions of the training so far.
            ended: Whether training is over, so that the policy is that of all later budgets.

        Raises:
            Spent: if there is a record for the longest budget now.
        """
        self._stop()
        left = self._budgets[len(self.points) :]
        budgets = [budget for budget in left if ended or self.minutes >= budget]
        returns = None if player is None else [round(float(one), 4) for one in player()]
        point = {"returns": returns, "decisions": decisions, "ended": ended, **self.figures()}
        for budget in budgets:
            self.points.append({"budget": budget, **point})
            mean = sum(returns) / len(returns) if returns else "no policy yet"
            self._log(f"{budget:g} minutes, {decisions} decisions: {mean}")
        if len(self.points) == len(self._budgets):
            raise Spent
        self.__enter__()

    def figures(self) -> dict[str, float]:
        """Minutes, CPU minutes and mean number of cores of other programs, up to the last stop."""
        seconds, own, all_programs = self._counted
        others = max(0.0, all_programs - own) / max(seconds, 1e-9)
        return {"minutes": seconds / 60, "cpu_minutes": own / 60, "other_cores": others}

    def _stop(self) -> None:
        if self._runs:
            parts = zip(self._counted, _now(), self._began, strict=True)
            seconds, own, all_programs = (before + end - start for before, end, start in parts)
            self._counted, self._runs = (seconds, own, all_programs), False


class AtBudgets(BaseCallback):
    """Records the policy in training whenever a budget is spent.

    Args:
        meter: The clock.
        open_venv: Opens so many environments for episodes.
        episodes: Number of episodes.
        before: Number of decisions of earlier trainings of this run.
    """

    def __init__(
        self, meter: Meter, open_venv: Callable[[int], VecEnv], episodes: int, before: int = 0
    ) -> None:
        super().__init__()
        self._meter, self._open, self._episodes = meter, open_venv, episodes
        self._before = before

    def _on_step(self) -> bool:
        if self._meter.due:
            player = partial(play_model, self.model, self._open, self._episodes)
            self._meter.record(player, self._before + self.num_timesteps)
        return True


def play_model(
    model: BaseAlgorithm, open_venv: Callable[[int], VecEnv], episodes: int
) -> Sequence[float]:
    """Returns of episodes of the deterministic policy of a model."""
    with closing(open_venv(min(episodes, MAX_ENVS))) as venv:
        first = evaluation_seeds(1, EVALUATION_SET)[0]
        returns: list[float] = play(
            venv, choose_without_noise(model, venv), episodes, first
        ).returns.tolist()
    return returns


def _now() -> tuple[float, float, float]:
    """Seconds, CPU seconds of this process and all below it, CPU seconds of all programs."""
    return time.monotonic(), _family_seconds(), machine_seconds()


def _family_seconds() -> float:
    """CPU seconds of this process and its descendants, the living ones included (Linux)."""
    ticks = 0
    for pid in family(os.getpid()):
        values = read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        ticks += sum(map(int, values[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else sum(os.times()[:4])
