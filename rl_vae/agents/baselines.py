"""Baseline agents, which observe stacked frames (by a CNN) or the true state instead of latents.

Recipe, wrappers, seeds and evaluation are those of `train_agent`. Only progress.jsonl and the
returns are kept, not the agent.

Shape letters: N environments, K numbers of the state, H W C frame, S stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from rl_vae.agents.algorithms import PolicyName, make_algorithm
from rl_vae.agents.environments import wrap_actions
from rl_vae.agents.evaluate import MAX_ENVS
from rl_vae.agents.learn import learn
from rl_vae.agents.recipe import Recipe
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.header import IMPORT
from rl_vae.envs.factors import read_factors
from rl_vae.envs.frame_skip import FrameSkip
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import evaluation_seeds, reset_seeds
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError, FolderError
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.play import choose_without_noise, play
from rl_vae.system import described_folder, files, locks, strict_json
from rl_vae.system.outputs import output_path, partial_folder
from rl_vae.trackers.base import TrackedRun

BaselineInput = Literal["pixels", "state"]
BASELINE_INPUTS: tuple[BaselineInput, ...] = ("pixels", "state")
MIN_SIDE = 36
"""Smallest height and width of a frame for the convolutions of SB3's CnnPolicy."""
_POLICIES: dict[BaselineInput, PolicyName] = {"pixels": "CnnPolicy", "state": "MlpPolicy"}


class BaselineResult(NamedTuple):
    """Result of `train_baseline`."""

    path: Path
    """Folder with progress.jsonl and result.json."""
    returns: NDArray[np.float64]
    """(episodes,) returns on the seeds of `evaluate_agent`."""
    seconds: float
    """Training time over all sessions."""


def train_baseline(
    baseline: BaselineInput,
    dataset: FrameDataset,
    out: str | Path,
    recipe: Recipe,
    *,
    episodes: int,
    seed: int = 0,
    evaluations: int = 4,
    evaluation_episodes: int = 5,
    workers: int | None = None,
    progress: bool = True,
    env: EnvSource | None = None,
) -> BaselineResult:
    """Train and evaluate a baseline agent, or resume an interrupted training.

    Args:
        baseline: Input of the agent. "pixels": the last S frames of the dataset's FrameSpec as
            channels (zeros before the first frame of an episode), with CnnPolicy. "state": the
            factors of the simulator, standardised over the dataset, with MlpPolicy.
        dataset: Frames of the environment, whose header names environment and FrameSpec.
        out: Folder of the result.
        recipe: The recipe; its past actions, code and extras are not used.
        episodes: Number of episodes of the evaluation, which is without noise.
        seed: Seed, as in `train_agent`.
        evaluations: Number of evaluations, the last one at the end of the training.
        evaluation_episodes: Number of episodes of such an evaluation.
        workers: Number of processes or threads of the environments; None: number of cores.
        progress: Whether to show a progress bar if there is a terminal.
        env: The environment; None: the one that the dataset's header names.

    Raises:
        ConfigError: if the recipe does not fit, frames are smaller than 36 x 36, or the state is
            not known.
        FolderError: if the folder contains something else.
        EnvironmentFault: if the environment cannot be opened.
        ObservationError: if the environment's images do not fit the FrameSpec.
    """
    # Refuse what cannot work, and return a finished result
    check_baseline_input(baseline, dataset)
    out = output_path(out)
    partial = partial_folder(out)
    run = {
        "input": baseline,
        "dataset": dataset.digest,
        "recipe": recipe.to_dict(),
        "episodes": episodes,
        "seed": seed,
    }
    described_folder.check_run(out if out.exists() else partial, run, FolderError)
    if out.exists():
        return _read_result(out)
    env = dataset.header.env_source() if env is None else env

    def open_venv(n_envs: int, seed: int = 0, reward_scale: float = 1.0) -> VecEnv:
        return _open(baseline, env, dataset, recipe, n_envs, seed, reward_scale, workers)

    venv = open_venv(recipe.n_envs, seed, recipe.reward_scale)

    try:
        # Train, evaluate, and write the result
        model = make_algorithm(recipe, venv, seed, _POLICIES[baseline])
        files.make_folder(partial)
        with locks.locked(partial, FolderError):
            strict_json.write_json(partial / "run.json", run)
            learned = learn(
                model,
                recipe,
                TrackedRun(out.name, out.parent, partial, run),
                open_venv,
                seed=seed,
                evaluations=evaluations,
                evaluation_episodes=evaluation_episodes,
                progress=progress,
            )
            returns = _evaluate(open_venv, model, episodes)
            result = {"returns": returns.tolist(), "seconds": learned.seconds}
            strict_json.write_json(partial / "result.json", result)
            files.rename_folder(partial, out)
    finally:
        venv.close()
    return _read_result(out)


def check_baseline_input(baseline: BaselineInput, dataset: FrameDataset) -> None:
    """Check that an agent can observe such an input in the environment of a dataset.

    Raises:
        ConfigError: if it cannot.
    """
    if dataset.header.engine == IMPORT:
        dataset.header.env_source()  # raises
    height, width, _ = dataset.spec.shape
    if baseline == "pixels" and min(height, width) < MIN_SIDE:
        raise ConfigError(
            "The frames are too small for SB3's CnnPolicy.",
            expected=f"frames of at least {MIN_SIDE} x {MIN_SIDE}",
            got=f"{height} x {width}",
            remedy="compare larger frames, or leave out the baseline pixels",
        )
    if baseline == "state" and not dataset.header.factor_names:
        raise ConfigError(
            f"The state of {dataset.header.env_id} is not known.",
            expected="a dataset with factors, which the engine gymnasium reads",
            got=f"no factors, from the engine {dataset.header.engine}",
            remedy="choose the engine gymnasium, or leave out the baseline state",
        )


def _evaluate(
    open_venv: Callable[[int], VecEnv], model: BaseAlgorithm, episodes: int
) -> NDArray[np.float64]:
    """Returns (episodes,) of an evaluation without noise."""
    venv = open_venv(min(episodes, MAX_ENVS))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first = evaluation_seeds(episodes)[0]
            played = play(venv, choose_without_noise(model, venv), episodes, first)
    finally:
        venv.close()
    return played.returns


def _read_result(out: Path) -> BaselineResult:
    path = out / "result.json"
    result = strict_json.read_object(path)
    try:
        returns = np.asarray(result["returns"], np.float64)
        return BaselineResult(out, returns, float(result["seconds"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FolderError.damaged(path, "returns and seconds", error) from error


def _open(
    baseline: BaselineInput,
    env: EnvSource,
    dataset: FrameDataset,
    recipe: Recipe,
    n_envs: int,
    seed: int,
    reward_scale: float,
    workers: int | None,
) -> VecEnv:
    """Open the environments of a baseline agent, with the recipe's wrappers."""
    # The observation: the state, or stacked frames
    header = dataset.header
    venv: VecEnv
    if baseline == "state":
        mean, std = _state_scale(dataset)
        venv = StateVecEnv(env, n_envs, recipe.frame_skip, mean, std)
    else:
        pixels = make_engine(
            env,
            n_envs,
            engine=header.engine,  # type: ignore[arg-type]
            workers=workers,
            spec=header.spec,
            frame_skip=recipe.frame_skip,
            pixels=header.source,
        )
        venv = PixelVecEnv(pixels, seed)
    try:
        wrapped = wrap_actions(venv, recipe, reward_scale=reward_scale)
        if baseline == "pixels":
            wrapped = VecFrameStack(wrapped, recipe.stack, channels_order="last")
        return wrapped
    except BaseException:
        venv.close()
        raise


def _state_scale(dataset: FrameDataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (K,) of the state; 1 for a number that is constant."""
    table = np.stack(list(dataset.factors.values()), axis=1)
    std = table.std(0)
    return table.mean(0), np.where(std > 1e-12, std, 1.0)


class StateVecEnv(DummyVecEnv):
    """N environments whose observation is the standardised state (K,); seeded like PixelVecEnv.

    Args:
        env: The environment.
        n_envs: N.
        frame_skip: Number of environment steps for which an action is repeated.
        mean: (K,) mean of the state.
        std: (K,) standard deviation of the state.
    """

    def __init__(
        self,
        env: EnvSource,
        n_envs: int,
        frame_skip: int,
        mean: NDArray[np.float64],
        std: NDArray[np.float64],
    ) -> None:
        def open_one() -> gym.Env[Any, Any]:
            return _ObserveState(FrameSkip(env.open(), frame_skip), mean, std)

        self.max_episode_steps = env.max_episode_steps
        self._seed_base, self._resets = 0, 0
        super().__init__([open_one] * n_envs)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset."""
        self._seed_base, self._resets = 0 if seed is None else seed, 0
        return reset_seeds(self.num_envs, self._seed_base, 0)

    def reset(self) -> VecEnvObs:
        """Start new episodes in all environments."""
        self._seeds = [*reset_seeds(self.num_envs, self._seed_base, self._resets)]
        self._resets += 1
        return super().reset()


class _ObserveState(gym.Wrapper[Any, Any, Any, Any]):
    """Replaces observations by the standardised state (K,)."""

    def __init__(
        self, env: gym.Env[Any, Any], mean: NDArray[np.float64], std: NDArray[np.float64]
    ) -> None:
        super().__init__(env)
        self._mean, self._std = mean, std
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, mean.shape, np.float32)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        _, info = self.env.reset(**arguments)
        return self._state(), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._state(), reward, terminated, truncated, info

    def _state(self) -> NDArray[np.float32]:
        state = np.array(list(read_factors(self.env).values()))
        return np.asarray((state - self._mean) / self._std, np.float32)
