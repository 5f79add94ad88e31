"""SB3 callback of a training: progress, scheduled noise, evaluations, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.agents.algorithms import check_not_diverged
from rl_vae.agents.checkpoint import CheckedPolicy, load_checkpoint, save_checkpoint
from rl_vae.agents.hindsight import end_trajectories
from rl_vae.agents.loggers import TrackedLogger
from rl_vae.agents.recipe import Recipe
from rl_vae.agents.refresh import EncoderRefresh
from rl_vae.agents.selection import Keep
from rl_vae.envs.seeds import check_seeds, training_seeds
from rl_vae.errors import EnvironmentFault, FolderError
from rl_vae.sb3.goal_rewards import without_goal_rewards
from rl_vae.sb3.play import choose_without_noise, play
from rl_vae.system import strict_json
from rl_vae.system.progress import progress_bar


class TrainingCallback(BaseCallback):
    """Writes progress.jsonl and checkpoints, evaluates, and shows a progress bar.

    All this happens between two rollouts, when the state of the algorithm is consistent.

    Attributes:
        seconds: Training time over all sessions.
        chosen: The policy that is kept: the one with the highest return in a check, the later one
            of equals; or, with keep="last", the one at the end. None before the first check.

    Args:
        partial: Folder of the unfinished training.
        recipe: The recipe.
        evaluations: Number of evaluations, at equal distances, the last one at the end.
        episodes: Number of episodes of an evaluation.
        open_venv: Function from a number of environments to environments for evaluation.
        progress: Whether to show a progress bar if there is a terminal.
        share: Whether evaluations use the environments of the training.
        keep: Which policy is kept.
        final_check: Whether the policy at the end is evaluated in any case.
        refresh: The encoders of the training, if there can be several.
    """

    def __init__(
        self,
        partial: Path,
        recipe: Recipe,
        *,
        evaluations: int,
        episodes: int,
        open_venv: Callable[[int], VecEnv],
        progress: bool,
        share: bool = False,
        keep: Keep = "last",
        final_check: bool = False,
        refresh: EncoderRefresh | None = None,
    ) -> None:
        super().__init__()
        self._partial, self._recipe = partial, recipe
        self._episodes, self._open_venv, self._share = episodes, open_venv, share
        total = recipe.total_steps
        self._evaluate_at = [total * i // evaluations for i in range(1, evaluations)]
        self._record_every = max(1, total // 50)
        self._checkpoint_every = max(1, total // 10)
        self._last_record = self._last_checkpoint = 0
        self._recent_returns: list[float] = []
        self._progress = progress
        self._bar: Any = None
        self.seconds = 0.0
        self._keep, self._final_check = keep, final_check or evaluations > 0
        self._refresh = refresh
        self.chosen: CheckedPolicy | None = None

    def resume(self, model: BaseAlgorithm) -> None:
        """Restore the last checkpoint, if there is one, and delete later progress records.

        Raises:
            FolderError: if the checkpoint is damaged.
        """
        self.seconds, self.chosen = load_checkpoint(self._partial, model)
        if self._refresh is not None:
            self._refresh.resume(model)
        steps = model.num_timesteps
        path = self._partial / "progress.jsonl"
        try:
            records = [line for line in strict_json.read_lines(path) if line["steps"] <= steps]
        except (KeyError, TypeError) as error:
            raise FolderError.damaged(path, "the number of steps in each line", error) from error
        strict_json.write_lines(path, records)
        self._last_record = self._last_checkpoint = steps
        if steps > 0:
            self._evaluate_at = [at for at in self._evaluate_at if at > steps]

    def close(self) -> None:
        """Close the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def _on_training_start(self) -> None:
        self._start = time.perf_counter() - self.seconds
        self._bar = progress_bar(
            total=self._recipe.total_steps,
            initial=self.model.num_timesteps,
            unit="steps",
            desc=f"training {self._recipe.algorithm}",
            progress=self._progress,
        )

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        for info in self.locals.get("infos", ()):
            if "episode" in info:
                self._recent_returns = [*self._recent_returns[-99:], float(info["episode"]["r"])]
        return True

    def _on_rollout_end(self) -> None:
        if "infos" not in self.locals:  # ARS plays whole episodes, and keeps their returns alone
            returns = [float(episode["r"]) for episode in self.model.ep_info_buffer or ()]
            self._recent_returns = [*self._recent_returns, *returns][-100:]

    def _on_rollout_start(self) -> None:
        steps = self.num_timesteps
        if self._recipe.final_log_std is not None:
            self._set_noise(steps / self._recipe.total_steps)
        if self._evaluate_at and steps >= self._evaluate_at[0]:
            self._evaluate_at = [at for at in self._evaluate_at if at > steps]
            self._evaluate()
            if self._keep == "best":  # a kill must not lose the best policy
                self._last_checkpoint = -self._checkpoint_every
        if steps - self._last_record >= self._record_every:
            self._record(training_return=self._mean_return())
            self._last_record = steps
        if steps - self._last_checkpoint >= self._checkpoint_every:
            self._save_checkpoint()
            self._last_checkpoint = steps
        if self._refresh is not None and self._refresh.is_due(steps):
            if self._last_checkpoint != steps:
                self._save_checkpoint()
                self._last_checkpoint = steps
            self._refresh.run(self.model, self.seconds)
            self._restart_training()

    def _on_training_end(self) -> None:
        if self._recipe.final_log_std is not None:
            self._set_noise(1.0)
        self._record(training_return=self._mean_return())
        if self._final_check:
            self._evaluate()

    def _save_checkpoint(self) -> None:
        self.seconds = time.perf_counter() - self._start
        check_not_diverged(self.model)
        if isinstance(self.logger, TrackedLogger):
            self.logger.flush()
        save_checkpoint(self._partial, self.model, self.seconds, self.chosen)

    def _mean_return(self) -> float | None:
        """Mean return of the last 100 training episodes, if any has ended."""
        return float(np.mean(self._recent_returns)) if self._recent_returns else None

    def _record(self, **values: Any) -> None:
        """Append a line to progress.jsonl."""
        self.seconds = time.perf_counter() - self._start
        steps = self.num_timesteps
        record = {"steps": steps, "frames": steps * self._recipe.frame_skip}
        line = {**record, "seconds": round(self.seconds, 3), **values}
        strict_json.append_line(self._partial / "progress.jsonl", line)
        if values.get("training_return") is not None:
            self._bar.set_postfix(training_return=f"{values['training_return']:.1f}")

    def _set_noise(self, share: float) -> None:
        """Set log_std after a share of the training, from 0 to 1."""
        policy: Any = self.model.policy
        first, last = policy.log_std_init, self._recipe.final_log_std
        assert last is not None
        policy.log_std.requires_grad_(False).fill_(first + (last - first) * min(1.0, share))

    def _evaluate(self) -> None:
        venv = self._open_for_evaluation()
        shared = self._share
        try:
            first, *_ = check_seeds(self._episodes)
            choose = choose_without_noise(self.model, venv)
            episodes = play(venv, choose, self._episodes, first)
        finally:
            if not shared:
                venv.close()
        returns = episodes.returns
        if shared:
            returns = returns / self._recipe.reward_scale
            self._restart_training()
        mean = float(returns.mean())
        self.model.logger.record("evaluation/mean_return", mean)
        self._record(evaluation_return=mean, evaluation_episodes=self._episodes)
        self._choose(mean, tuple(returns.tolist()))

    def _choose(self, mean_return: float, returns: tuple[float, ...]) -> None:
        """Note the policy of a check if it is the one that is kept."""
        weights = None
        if self._keep == "best":
            if self.chosen is not None and mean_return < self.chosen.mean_return:
                return
            policy: Any = self.model.policy
            weights = {name: value.clone() for name, value in policy.state_dict().items()}
        number = 0 if self._refresh is None else self._refresh.number
        self.chosen = CheckedPolicy(self.num_timesteps, mean_return, weights, returns, number)

    def _open_for_evaluation(self) -> VecEnv:
        """Environments for an evaluation: those of the training if there can be no others."""
        ours = without_goal_rewards(self.training_env)
        if self._share:
            return ours
        try:
            return self._open_venv(min(self._episodes, 8))
        except EnvironmentFault:
            if self._recipe.n_envs > 1:
                raise
        self._share = True  # the simulator allows one instance
        return ours

    def _restart_training(self) -> None:
        """Start new episodes in the environments of the training."""
        model: Any = self.model
        self.training_env.seed(training_seeds(1, model.seed or 0, self.num_timesteps)[0])
        end_trajectories(model)
        model._last_obs = self.training_env.reset()
        model._last_episode_starts = np.ones(self.training_env.num_envs, np.bool_)
