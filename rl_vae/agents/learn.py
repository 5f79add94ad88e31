"""The training loop of SB3 with progress, evaluations and checkpoints, for agents and baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.agents.algorithms import check_not_diverged
from rl_vae.agents.callback import TrainingCallback
from rl_vae.agents.checkpoint import CheckedPolicy
from rl_vae.agents.hindsight import check_episodes
from rl_vae.agents.loggers import TrackedLogger
from rl_vae.agents.recipe import Recipe
from rl_vae.agents.refresh import EncoderRefresh
from rl_vae.agents.selection import Keep
from rl_vae.agents.torch_threads import torch_threads
from rl_vae.envs.seeds import training_seeds
from rl_vae.errors import EnvironmentFault
from rl_vae.trackers.base import TrackedRun


class Learned(NamedTuple):
    """Result of `learn`."""

    seconds: float
    """Training time over all sessions."""
    chosen: CheckedPolicy | None
    """Check of the policy that the algorithm has now; None if it was not checked."""


def learn(
    model: BaseAlgorithm,
    recipe: Recipe,
    run: TrackedRun,
    open_venv: Callable[[int], VecEnv],
    *,
    seed: int,
    evaluations: int,
    evaluation_episodes: int,
    progress: bool,
    share: bool = False,
    keep: Keep = "last",
    final_check: bool = False,
    callbacks: Sequence[BaseCallback] = (),
    track: Sequence[str] = ("tensorboard",),
    refresh: EncoderRefresh | None = None,
) -> Learned:
    """Train an algorithm as a recipe says, from its last checkpoint if there is one.

    With keep="best" the algorithm gets the weights of the policy with the best check.

    Args:
        model: A new algorithm, from `make_algorithm`.
        recipe: The recipe.
        run: The run, whose folder gets progress.jsonl, TensorBoard's files and checkpoints.
        open_venv: Function from a number of environments to environments for evaluation.
        seed: Seed of the training.
        evaluations: Number of evaluations, the last one at the end.
        evaluation_episodes: Number of episodes of an evaluation.
        progress: Whether to show a progress bar if there is a terminal.
        share: Whether evaluations use the environments of the training.
        keep: Which policy the algorithm has at the end.
        final_check: Whether the policy at the end is evaluated in any case.
        callbacks: Other callbacks, which are called after that of the training.
        track: Names of the trackers.
        refresh: The encoders of the training, if there can be several.

    Raises:
        FolderError: if the checkpoint is damaged.
        TrainingError: if training diverges.
    """
    logger = TrackedLogger(run, track)
    model.set_logger(logger)
    callback = TrainingCallback(
        run.partial,
        recipe,
        evaluations=evaluations,
        episodes=evaluation_episodes,
        open_venv=open_venv,
        progress=progress,
        share=share,
        keep=keep,
        final_check=final_check,
        refresh=refresh,
    )
    # Go on from the last checkpoint
    callback.resume(model)
    if model.num_timesteps > 0:  # other noise and other episodes than at the beginning
        model.set_random_seed(training_seeds(1, seed, model.num_timesteps)[0])
    # Train what is left
    remaining = recipe.total_steps - model.num_timesteps
    try:
        if remaining > 0:
            with torch_threads(1):
                together = [callback, *callbacks] if callbacks else callback
                model.learn(remaining, callback=together, reset_num_timesteps=False)
        logger.finish(model.num_timesteps)
    except (AssertionError, EnvironmentFault, RuntimeError, ValueError):  # on numbers that are NaN
        check_not_diverged(model)
        check_episodes(model)
        raise
    finally:
        callback.close()
        logger.close()
    chosen = callback.chosen
    if chosen is not None and chosen.weights is not None:
        model.policy.load_state_dict(chosen.weights)
    return Learned(callback.seconds, chosen)
