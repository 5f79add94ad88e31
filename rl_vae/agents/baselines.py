"""Rivals: the same agents without a code, on stacked frames by a CNN or on the true state.

Recipe, wrappers, seeds and evaluation are those of `train_agent`. A rival is trained to be compared
with, not to be kept: of it remain progress.jsonl and its returns.

Shape letters: N lanes, K numbers of the state, H W C frame, S stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from rl_vae.agents.agent import act_by
from rl_vae.agents.evaluate import MAX_LANES
from rl_vae.agents.recipe import Recipe
from rl_vae.agents.train import learn, make_model
from rl_vae.data.dataset import FrameDataset
from rl_vae.envs.factors import read_factors
from rl_vae.envs.frame_skip import FrameSkip
from rl_vae.envs.make import open_env
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import evaluation_seeds, reset_seeds
from rl_vae.errors import ConfigError, FolderError
from rl_vae.sb3.pixel_vec_env import PixelVecEnv
from rl_vae.sb3.play import play
from rl_vae.system import files

BaselineInput = Literal["pixels", "state"]
BASELINE_INPUTS: tuple[BaselineInput, ...] = ("pixels", "state")
LEAST_SIDE = 36
"""Smaller frames have no pixel left after the convolutions of SB3's CnnPolicy."""


class Rival(NamedTuple):
    """What `train_rival` found."""

    path: Path
    returns: NDArray[np.float64]
    """(episodes,): from the same evaluation seeds as `evaluate_agent`."""
    seconds: float
    """Of training, over all sittings."""


def train_rival(
    sight: BaselineInput,
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
) -> Rival:
    """Train and evaluate an agent that sees frames or the state, or go on where one stopped.

    Args:
        sight: "pixels": the dataset's frames, the last S of them as channels, zeros before an
            episode's first, CnnPolicy; "state": the simulator's numbers, each scaled by its mean
            and standard deviation in the dataset, MlpPolicy.
        dataset: Frames of the environment; says which one, and how frames are made.
        out: The folder.
        recipe: As in `train_agent`; past actions are left out.
        episodes: Of the evaluation without noise.
        seed: As in `train_agent`, as are the next ones.
        evaluations: How often, during training.
        evaluation_episodes: How many episodes each time.
        workers: Processes or threads of the environments.
        progress: Whether to show a bar.

    Raises:
        ConfigError: where the recipe does not fit, frames are smaller than 36 x 36, or no state
            is known.
        ArtifactError: where the folder holds something else.
        EnvironmentFault, ObservationError: where the environment cannot be opened.
    """
    check_sight(sight, dataset)
    out = Path(out)
    run = {
        "sight": sight,
        "dataset": dataset.digest,
        "recipe": recipe.to_dict(),
        "episodes": episodes,
        "seed": seed,
    }
    files.check_run(out if out.exists() else out.with_name(out.name + ".partial"), run, FolderError)
    if out.exists():
        return _read(out)
    partial = out.with_name(out.name + ".partial")
    policy = {"pixels": "CnnPolicy", "state": "MlpPolicy"}[sight]
    venv = _open(sight, dataset, recipe, recipe.n_envs, seed, recipe.reward_scale, workers)

    def open_venv(n_envs: int) -> VecEnv:
        return _open(sight, dataset, recipe, n_envs, 0, 1.0, workers)

    try:
        model = make_model(recipe, venv, seed, policy)
        partial.mkdir(parents=True, exist_ok=True)
        with files.locked(partial, FolderError):
            files.write_json(partial / "run.json", run)
            seconds = learn(
                model,
                recipe,
                partial,
                open_venv,
                seed=seed,
                evaluations=evaluations,
                evaluation_episodes=evaluation_episodes,
                progress=progress,
            )
            returns = _evaluate(open_venv, model, episodes)
            found = {"returns": returns.tolist(), "seconds": seconds}
            files.write_json(partial / "result.json", found)
            files.rename_folder(partial, out)
    finally:
        venv.close()
    return _read(out)


def check_sight(sight: BaselineInput, dataset: FrameDataset) -> None:
    """Raise ConfigError where an agent cannot have that sight of a dataset's environment."""
    height, width, _ = dataset.spec.shape
    if sight == "pixels" and min(height, width) < LEAST_SIDE:
        raise ConfigError(
            "SB3's CnnPolicy cannot see such frames.",
            expected=f"at least {LEAST_SIDE} x {LEAST_SIDE}",
            got=f"{height} x {width}",
            remedy="compare larger frames, or leave out the baseline pixels",
        )
    if sight == "state" and not dataset.header.factor_names:
        raise ConfigError(
            f"No state is known of {dataset.header.env_id}.",
            expected="factors, which the engine gymnasium reads where it knows how",
            got=f"none, from the engine {dataset.header.engine}",
            remedy="choose the engine gymnasium, or leave out the baseline state",
        )


def _evaluate(open_venv: Callable[[int], VecEnv], model: Any, episodes: int) -> NDArray[np.float64]:
    venv = open_venv(min(episodes, MAX_LANES))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            played = play(
                venv,
                lambda seen: model.predict(seen, deterministic=True)[0],
                episodes,
                evaluation_seeds(episodes)[0],
            )
    finally:
        venv.close()
    return played.returns


def _read(out: Path) -> Rival:
    path = out / "result.json"
    found = files.read_object(path)
    try:
        return Rival(out, np.asarray(found["returns"], np.float64), float(found["seconds"]))
    except (ValueError, KeyError, TypeError) as error:
        raise files.damaged(path, "returns and seconds", error) from error


def _open(
    sight: BaselineInput,
    dataset: FrameDataset,
    recipe: Recipe,
    n_envs: int,
    seed: int,
    reward_scale: float,
    workers: int | None,
) -> VecEnv:
    header = dataset.header
    venv: VecEnv
    if sight == "state":
        venv = StateVecEnv(
            header.env_id, n_envs, header.env_kwargs, recipe.frame_skip, *_scale(dataset)
        )
    else:
        lanes = make_engine(
            header.env_id,
            n_envs,
            engine=header.engine,  # type: ignore[arg-type]
            workers=workers,
            spec=header.spec,
            frame_skip=recipe.frame_skip,
            image_key=header.image_key,
            env_kwargs=header.env_kwargs,
        )
        venv = PixelVecEnv(lanes, seed)
    try:
        acting = act_by(venv, recipe, reward_scale=reward_scale)
        if sight == "pixels":
            acting = VecFrameStack(acting, recipe.stack, channels_order="last")
        return acting
    except BaseException:
        venv.close()
        raise


def _scale(dataset: FrameDataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (K,) of the state; 1 where it never changes."""
    table = np.stack(list(dataset.factors.values()), axis=1)
    std = table.std(0)
    return table.mean(0), np.where(std > 1e-12, std, 1.0)


class StateVecEnv(DummyVecEnv):
    """N environments whose observation is their scaled state; seeded as PixelVecEnv is."""

    def __init__(
        self,
        env_id: str,
        n_envs: int,
        env_kwargs: Mapping[str, Any],
        frame_skip: int,
        mean: NDArray[np.float64],
        std: NDArray[np.float64],
    ) -> None:
        def open_one() -> gym.Env[Any, Any]:
            return _SeesState(FrameSkip(open_env(env_id, env_kwargs), frame_skip), mean, std)

        self._seed_base, self._resets = 0, 0
        super().__init__([open_one] * n_envs)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset."""
        self._seed_base, self._resets = 0 if seed is None else seed, 0
        return reset_seeds(self.num_envs, self._seed_base, 0)

    def reset(self) -> VecEnvObs:
        """Start fresh episodes everywhere."""
        self._seeds = [*reset_seeds(self.num_envs, self._seed_base, self._resets)]
        self._resets += 1
        return super().reset()


class _SeesState(gym.Wrapper[Any, Any, Any, Any]):
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
