"""Systems of study_minutes.py: each trains from nothing until the longest budget is spent.

ours         frames, a VAE, an agent on its codes, refreshes: the stages of benchmark_agents.py
ours_head    the same, and the VAE is trained with a reward head of 30 nats
zoo          SB3's PPO with CnnPolicy and the settings of rl_zoo3, as in benchmark_agents.py
envpool_cnn  SB3's PPO with CnnPolicy (Nature's network) and the settings of CleanRL's PPO for
             Atari, in EnvPool if it has images of the environment
sbx          SBX's PPO with CnnPolicy, with the frames and settings of envpool_cnn
"""

import contextlib
import importlib
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from benchmark_agents import (  # type: ignore[import-not-found]
    AgentRun,
    Pair,
    Task,
    ppo_arguments,
)
from minutes_meter import EVALUATION_SET, AtBudgets, Meter, Spent  # type: ignore[import-not-found]
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from rl_vae.agents.agent import Agent
from rl_vae.agents.environments import Environments
from rl_vae.agents.evaluate import evaluate_agent
from rl_vae.agents.recipe import Recipe
from rl_vae.envs.envpool_engine import EnvPoolVectorEnv
from rl_vae.envs.registry import resolve_engine
from rl_vae.envs.source import EnvSource
from rl_vae.envs.vector_env import VectorEnvConfig
from rl_vae.errors import MissingPackageError
from rl_vae.models.encoder import Encoder
from rl_vae.sb3 import PixelVecEnv

SYSTEMS = ("ours", "ours_head", "zoo", "envpool_cnn", "sbx")
HEADS = {"reward": 30.0}
FOREVER = 10**9
"""Number of decisions of a training that only the longest budget ends."""

CLEANRL: dict[str, Any] = {
    "learning_rate": "linear 2.5e-4",
    "n_steps": 128,
    "batch_size": 256,  # 8 environments, 4 minibatches
    "n_epochs": 4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_range": 0.1,
    "ent_coef": 0.01,
    "vf_coef": 0.25,  # CleanRL's 0.5 is the weight of half of the squared error
    "max_grad_norm": 0.5,
}
CLEANRL_SETTINGS: dict[str, Any] = {
    "n_envs": 8,
    "stack": 4,
    "spec": {"height": 84, "width": 84, "channels": 1},
    "convert_actions": False,
    "hyperparameters": CLEANRL,
}
"""Frames and settings of envpool_cnn and sbx; the frame skip is that of the recipe."""

ENVPOOL = {"ALE/Pong-v5": ("Pong-v5", {"repeat_action_probability": 0.25})}
"""Atari in EnvPool, with the sticky actions of ALE's v5: four frames of 84 x 84 pixels, gray."""


def run_system(
    task: Task, system: str, seed: int, folder: Path, meter: Meter, episodes: int
) -> None:
    """Train a system until the meter has recorded the longest budget.

    Args:
        task: A table of agent_tasks.toml.
        system: One of SYSTEMS.
        seed: Seed of the training.
        folder: An empty folder for its files; there are files beside it, too.
        meter: The clock, which runs.
        episodes: Number of episodes at each budget.
    """
    with contextlib.suppress(Spent):
        if system in ("ours", "ours_head"):
            heads = {"heads": HEADS} if system == "ours_head" else {}
            StagesRun({**task, **heads}, seed, folder, meter, episodes).train()
        elif system == "zoo":
            ZooRun(task, system, seed, folder, meter, episodes).train()
        else:
            CleanRun(task, system, seed, folder, meter, episodes).train()


def engine_of(task: Task, system: str) -> str:
    """Name of the engine of a system's environments."""
    if system in ("envpool_cnn", "sbx") and task["env_id"] in ENVPOOL:
        return "envpool"
    return resolve_engine(EnvSource.of(task["env_id"], task["env_kwargs"]), "auto")


class StagesRun(AgentRun):  # type: ignore[misc]
    """Ours: after its last stage the agent stays as it is.

    At a budget that is spent during a training of an agent, the policy in training plays. During
    the other stages it is the best pair of agent and VAE so far, as at the end.
    """

    def __init__(self, task: Task, seed: int, folder: Path, meter: Meter, episodes: int) -> None:
        super().__init__(task, "ours", seed, folder)
        self._meter, self._episodes = meter, episodes
        self._pair: Pair | None = None
        self._best: Pair | None = None
        self._decisions = 0

    def train(self) -> None:
        """Run all stages."""
        self._pair = self._run_code()
        self._meter.record(self._player(), self._decisions, ended=True)

    def _stage(self, name: str, work: Any, *, resumable: bool = True) -> dict[str, Any]:
        result = dict(work(None) or {})
        if self._meter.due:
            self._meter.record(self._player(), self._decisions)
        return result

    def _train_agent(self, pair: Pair, recipe: Recipe, start: Path | None, clock: Any) -> Any:
        result = super()._train_agent(pair, recipe, start, clock)
        self._pair = pair
        self._decisions += recipe.total_steps
        return result

    def _check(self, name: str, pair: Pair) -> Pair:
        checked: Pair = super()._check(name, pair)
        if self._best is None or checked.score >= self._best.score:
            self._best = checked
        self._pair = self._best
        return checked

    def _watch(self, pair: Pair, recipe: Recipe) -> AtBudgets:
        source = EnvSource.of(self._task["env_id"], self._task["env_kwargs"])
        opened = partial(Environments(source, recipe, "auto", None).open, Encoder.load(pair.vae))
        return AtBudgets(self._meter, opened, self._episodes, self._decisions)

    def _player(self) -> Any:
        return None if self._pair is None else partial(_play_pair, self._pair, self._episodes)


class ZooRun(AgentRun):  # type: ignore[misc]
    """PPO on stacked frames; schedules fall over the longest budget."""

    def __init__(
        self, task: Task, system: str, seed: int, folder: Path, meter: Meter, episodes: int
    ) -> None:
        super().__init__(task, system, seed, folder)
        self._meter, self._episodes = meter, episodes

    def train(self) -> None:
        """Train until the longest budget is spent."""
        settings = self._settings()
        arguments = ppo_arguments(settings["hyperparameters"], self._fall)
        venv = self._open(settings, settings["n_envs"])
        if settings["normalize_reward"]:
            gamma = float(arguments.get("gamma", 0.99))
            venv = VecNormalize(venv, norm_obs=False, norm_reward=True, gamma=gamma)
        with closing(venv):
            model = self._algorithm()("CnnPolicy", venv, seed=self._seed, device="cpu", **arguments)
            watch = AtBudgets(self._meter, partial(self._open, settings), self._episodes)
            model.learn(FOREVER, callback=watch)

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self._pixel_settings()
        return settings

    def _algorithm(self) -> Any:
        return PPO

    def _open(self, settings: dict[str, Any], n_envs: int) -> VecEnv:
        venv: VecEnv = self._open_pixels(settings, n_envs, "auto")[0]
        return venv

    def _fall(self, first: float) -> Callable[[float], float]:
        """The schedule from a value to 0 over the longest budget, whatever SB3 counts."""
        return lambda _: first * (1.0 - self._meter.share)


class CleanRun(ZooRun):
    """PPO with the settings of CleanRL's programs for Atari, of SB3 or of SBX."""

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), **CLEANRL_SETTINGS, "frame_skip": self._recipe.frame_skip}

    def _algorithm(self) -> Any:
        return load_sbx().PPO if self._system == "sbx" else PPO

    def _open(self, settings: dict[str, Any], n_envs: int) -> VecEnv:
        if self._task["env_id"] not in ENVPOOL:
            return super()._open(settings, n_envs)
        source = EnvSource.of(*ENVPOOL[self._task["env_id"]])
        pool = EnvPoolVectorEnv(VectorEnvConfig(env=source, num_envs=n_envs))
        return VecMonitor(PixelVecEnv(pool, self._seed))


def load_sbx() -> Any:
    """The module sbx, which needs JAX.

    Raises:
        MissingPackageError: if it is not installed.
    """
    try:
        return importlib.import_module("sbx")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "The system sbx needs SBX and JAX.",
            expected="an installed package sbx-rl",
            got=f"no module {error.name}",
            remedy="pip install sbx-rl, or leave the system out",
        ) from error


def _play_pair(pair: Pair, episodes: int) -> Any:
    """Returns of a finished agent, in the episodes of `play_model`."""
    agent = Agent.load(pair.agent, encoder=pair.vae)
    return evaluate_agent(agent, episodes=episodes, engine="auto", seed=EVALUATION_SET).returns
