"""Benchmark of agents: return and cost from nothing, for each kind of observation.

    ours    frames, a VAE, an agent on its stacked mean latents, refreshes of the VAE
    pixels  SB3's CnnPolicy on the same frames, with the same frame skip, stack and actions and the
            PPO hyperparameters of rl_zoo3 2.9.2 for the task (hyperparams/ppo.yml)
    zoo     CnnPolicy with the frames, frame skip, stack, actions and reward scale of rl_zoo3

`rl-vae compare` compares other systems (other codes, the simulator's state) with equal recipes.

The tasks are in agent_tasks.toml. A run is one system with one seed. Its stages are in
OUT/TASK/seed-SEED/SYSTEM, each with NAME.json, which holds the result and the seconds. The same
command continues an interrupted benchmark.

The cost holds everything from the first frame to the last agent: collection, the VAE, the agent,
the refreshes, and the checks that select the best pair of agent and VAE. It does not hold the tests
and the start of Python. A training on pixels ends at the threshold, or after 5 times the seconds
that ours with the same seed needed for the threshold (or for everything, if ours missed it).

    python benchmarks/benchmark_agents.py --task car_racing --systems ours pixels --seeds 3
    python benchmarks/benchmark_agents.py --write RESULTS.md

--write adds the finished runs to docs/results.json and writes RESULTS.md from that file.

TASK_SYSTEM_return, _low, _high    mean over seeds of the mean return of the deterministic agent on
                                   the test episodes, with Student's t interval over seeds
TASK_SYSTEM_minutes                cost in minutes, mean over seeds
TASK_SYSTEM_seconds_to_threshold   mean over seeds, if all seeds reached the threshold: seconds from
                                   nothing to a mean return of the last 100 training episodes
TASK_ratio_SYSTEM                  seconds to the threshold, SYSTEM divided by ours
"""

import argparse
import contextlib
import statistics
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecNormalize
from write_results import (  # type: ignore[import-not-found]
    figures_of,
    read_run,
    write_results,
)

from rl_vae.agents.agent import Agent
from rl_vae.agents.algorithms import LinearSchedule
from rl_vae.agents.evaluate import MAX_ENVS, evaluate_agent, evaluate_random
from rl_vae.agents.recipe import Recipe, load_recipe
from rl_vae.agents.train import train_agent
from rl_vae.analysis.comparison.runner import StageClock, run_all, run_stage
from rl_vae.data.collect import collect_frames
from rl_vae.data.concat import ConcatDataset
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.policies import CollectionPolicy, Correlated
from rl_vae.envs.registry import EngineName, make_engine
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.errors import FolderError
from rl_vae.executors.job import Here, Job
from rl_vae.executors.registry import executor_from
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.objectives.beta import Beta
from rl_vae.sb3 import ActionConverter, ConvertActions, PixelVecEnv, play
from rl_vae.sb3.play import choose_without_noise
from rl_vae.system import strict_json
from rl_vae.system.described_folder import check_run
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures
from rl_vae.training.config import TrainConfig
from rl_vae.training.heads import Heads
from rl_vae.training.train import train_vae

SYSTEMS = ("ours", "pixels", "zoo")
REFRESH_LEARNING_RATE = 3e-4
PIXEL_LIMIT = 5.0
"""A training on pixels gets this many times the seconds of ours."""


Stage = Callable[[StageClock], Mapping[str, Any]]
Task = Mapping[str, Any]
"""A table of agent_tasks.toml."""


class Pair(NamedTuple):
    """An agent and the VAE whose codes it observes."""

    agent: Path
    vae: Path
    score: float = 0.0
    """Mean return in the checks; 0 without checks."""


def read_tasks(path: Path) -> dict[str, Task]:
    """Read agent_tasks.toml."""
    tables = tomllib.loads(path.read_text("utf-8"))
    tasks: dict[str, Task] = {}
    for name in [name for name in tables if name != "defaults"]:
        task = tables[name]
        while "extends" in task:
            parent = task["extends"]
            task = {**tables[parent], **{key: task[key] for key in task if key != "extends"}}
        tasks[name] = {**tables["defaults"], **task}
    return tasks


def _make(kind: Callable[..., Any], table: Mapping[str, Any]) -> Any:
    """An object from a table, whose lists become tuples."""
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()})


class AgentRun:
    """One system with one seed on one task."""

    def __init__(self, task: Task, system: str, seed: int, folder: Path) -> None:
        self._task, self._system, self._seed, self._folder = task, system, seed, folder
        self._recipe = load_recipe(task["recipe"])

    def run(self, *, tested: bool) -> None:
        """Run all stages that are not finished."""
        self._folder.mkdir(parents=True, exist_ok=True)
        run = {"task": self._task, "recipe": self._recipe.to_dict(), "seed": self._seed}
        check_run(self._folder, run, FolderError)
        strict_json.write_json(self._folder / "run.json", run)
        origin = {"commit": git_commit(__file__), "machine": machine()}
        self._stage("origin", lambda _: origin)
        if self._system == "ours":
            best = self._run_code()
            episodes = self._task["test_episodes"]
            test: Stage = partial(self._play, best, episodes, "gymnasium", 0)
        else:
            test = self._run_pixels()
        if tested:
            self._stage("test", test, resumable=False)

    def _stage(self, name: str, work: Any, *, resumable: bool = True) -> dict[str, Any]:
        return run_stage(self._folder / name, work, resumable=resumable, log=_log)

    # A code and an agent on it.

    def _run_code(self) -> Pair:
        task, folder = self._task, self._folder
        policy = _make(Correlated, task["policy"])
        frames = [self._collect("../data", policy, task["frames"], self._seed)]
        best = Pair(folder / "agent", folder / "vae")
        config = self._train_config(task["vae_steps"], task["learning_rate"])
        self._stage("vae", partial(self._train_vae, frames[0], best.vae, config, None))
        self._stage("agent", partial(self._train_agent, best, self._recipe, None))
        if task["refreshes"]:
            best = self._check("check", best)
        for number, refresh in enumerate(task["refreshes"], 1):
            # Collect with the best pair, and go on with its VAE on all frames so far.
            start, vae, seed = best, folder / f"vae-{number}", self._seed + number
            policy = Agent.load(start.agent, encoder=start.vae)
            skip = self._recipe.frame_skip
            frames.append(self._collect(f"data-{number}", policy, refresh["frames"], seed, skip))
            config = self._train_config(refresh["vae_steps"], REFRESH_LEARNING_RATE)
            train = partial(self._train_vae, ConcatDataset(frames), vae, config, start.vae)
            self._stage(vae.name, train)
            best = max(self._check(f"check-{number}", Pair(start.agent, vae)), best, key=_score)

            # Go on with the agent.
            if refresh["agent_steps"]:
                changed = {"total_steps": refresh["agent_steps"], **refresh.get("recipe", {})}
                recipe = replace(self._recipe, **changed)
                pair = Pair(folder / f"agent-{number}", vae)
                self._stage(pair.agent.name, partial(self._train_agent, pair, recipe, start.agent))
                best = max(self._check(f"check-{number}-agent", pair), best, key=_score)
        return best

    def _collect(
        self, name: str, policy: CollectionPolicy, frames: int, seed: int, skip: int = 1
    ) -> FrameDataset:
        def work(_: StageClock) -> dict[str, Any]:
            collect_frames(
                self._task["env_id"],
                self._folder / name,
                n_frames=frames,
                spec=_make(FrameSpec, self._task["spec"]),
                policy=policy,
                seed=seed,
                engine="auto",
                frame_skip=skip,
                env_kwargs=self._task["env_kwargs"],
            )
            return {"frames": frames * skip}

        self._stage(name, work)
        return FrameDataset.open(self._folder / name)

    def _train_config(self, steps: int, learning_rate: float) -> TrainConfig:
        return TrainConfig(
            objective=Beta(),
            steps=steps,
            batch_size=self._task["batch_size"],
            learning_rate=learning_rate,
            moving_weight=self._task["moving_weight"],
            heads=Heads(**self._task.get("heads", {})),
            seed=self._seed,
            compute=self._task["compute"],
        )

    def _train_vae(
        self,
        frames: FrameDataset,
        out: Path,
        config: TrainConfig,
        start: Path | None,
        _: StageClock,
    ) -> None:
        vae = VAEConfig(**self._task.get("vae", {})) if start is None else None
        train_vae(frames, out, vae, config, start=start)

    def _train_agent(
        self, pair: Pair, recipe: Recipe, start: Path | None, _: StageClock
    ) -> dict[str, Any]:
        trained = train_agent(
            self._task["env_id"],
            pair.vae,
            pair.agent,
            recipe,
            seed=self._seed,
            engine="auto",
            env_kwargs=self._task["env_kwargs"],
            evaluations=0,
            start=start,
            callback=self._watch(pair, recipe),
        )
        # The first episodes to end are shorter than the others: a trained agent's are left out.
        first = 0 if start is None else recipe.n_envs * self._task["longest_episode"]
        curve = [point for point in _curve(pair.agent) if point[0] >= first]
        return {"frames": trained.frames, "engine": trained.engine, "curve": curve}

    def _watch(self, pair: Pair, recipe: Recipe) -> BaseCallback | None:
        """What watches a training of an agent."""
        return None

    def _check(self, name: str, pair: Pair) -> Pair:
        """Score a pair on the episodes of the checks, if the task has checks."""
        if not self._task["checks"]:
            return pair
        work = partial(self._play, pair, self._task["checks"], "auto", 1)
        result = self._stage(name, work, resumable=False)
        return pair._replace(score=statistics.fmean(result["returns"]))

    def _play(
        self, pair: Pair, episodes: int, engine: EngineName, seed: int, _: StageClock
    ) -> dict[str, Any]:
        agent = Agent.load(pair.agent, encoder=pair.vae)
        played = evaluate_agent(agent, episodes=episodes, engine=engine, seed=seed)
        names = {"agent": pair.agent.name, "vae": pair.vae.name}
        return {"returns": played.returns, "engine": played.engine, **names}

    # Stacked frames.

    def _run_pixels(self) -> Stage:
        """Train on stacked frames; returns the stage that tests the agent."""
        pixels, path = self._pixel_settings(), self._folder / "model.zip"

        def train(clock: StageClock) -> dict[str, Any]:
            venv, engine = self._open_pixels(pixels, pixels["n_envs"], "auto")
            if pixels["normalize_reward"]:
                gamma = float(pixels["hyperparameters"].get("gamma", 0.99))
                venv = VecNormalize(venv, norm_obs=False, norm_reward=True, gamma=gamma)
            total, skip = pixels["total_steps"], pixels["frame_skip"]
            limit = self._pixel_limit()
            watch = Watch(clock, total, skip, limit, self._task["threshold"])
            try:
                arguments = ppo_arguments(pixels["hyperparameters"], fall_to_zero)
                model = PPO("CnnPolicy", venv, seed=self._seed, device="cpu", **arguments)
                model.learn(total, callback=watch)
                model.save(path)
            finally:
                venv.close()
            result = {"frames": model.num_timesteps * skip, "engine": engine, "limit": limit}
            return {**result, "curve": watch.curve, "ended": watch.ended}

        def test(_: StageClock) -> dict[str, Any]:
            model = PPO.load(path, device="cpu")  # written by this run
            episodes = self._task["test_episodes"]
            venv, engine = self._open_pixels(pixels, min(episodes, MAX_ENVS), "gymnasium")
            try:
                first = evaluation_seeds(episodes)[0]
                played = play(venv, choose_without_noise(model, venv), episodes, first)
            finally:
                venv.close()
            return {"returns": played.returns, "engine": engine}

        self._stage("agent", train, resumable=False)
        return test

    def _pixel_settings(self) -> dict[str, Any]:
        names = ("n_envs", "frame_skip", "stack", "total_steps")
        own: dict[str, Any] = {name: getattr(self._recipe, name) for name in names}
        own |= {"spec": self._task["spec"], "normalize_reward": False, "convert_actions": True}
        zoo = self._task.get("zoo", {}) if self._system == "zoo" else {}
        return {**own, **self._task["pixels"], **zoo}

    def _pixel_limit(self) -> float | None:
        """Seconds that a training on pixels may take; None if ours was not run."""
        ours = read_run(self._folder.parent / "ours", self._task["threshold"])
        return None if ours is None else PIXEL_LIMIT * (ours.to_threshold or ours.total_seconds)

    def _open_pixels(
        self, pixels: Mapping[str, Any], n_envs: int, engine: EngineName
    ) -> tuple[VecEnv, str]:
        """Open environments; returns them and the name of their engine."""
        environments = make_engine(
            self._task["env_id"],
            n_envs,
            engine=engine,
            spec=_make(FrameSpec, pixels["spec"]),
            frame_skip=pixels["frame_skip"],
            env_kwargs=self._task["env_kwargs"],
        )
        venv: VecEnv = PixelVecEnv(environments, self._seed)
        if self._recipe.action_map is not None and pixels["convert_actions"]:
            converter = ActionConverter(self._recipe.action_map, venv.action_space)
            venv = ConvertActions(venv, converter)
        return VecFrameStack(VecMonitor(venv), pixels["stack"]), environments.name


class Watch(BaseCallback):
    """Records the learning curve, and ends a training at the threshold or at the time limit."""

    def __init__(
        self, clock: StageClock, total: int, skip: int, limit: float | None, threshold: float
    ) -> None:
        super().__init__()
        self._clock, self._skip, self._limit, self._threshold = clock, skip, limit, threshold
        self._interval, self._recorded = max(1, total // 50), 0
        self._returns: list[float] = []
        self.curve: list[list[float]] = []
        self.ended = "steps"

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self._returns = [*self._returns[-99:], float(info["episode"]["r"])]
        if self._limit is not None and self._clock.seconds > self._limit:
            self.ended = "seconds"
        return self.ended == "steps"

    def _on_rollout_start(self) -> None:
        if self.num_timesteps - self._recorded >= self._interval:
            self._record()

    def _on_training_end(self) -> None:
        self._record()

    def _record(self) -> None:
        self._recorded = self.num_timesteps
        if self._returns:
            mean = statistics.fmean(self._returns)
            self.curve.append([self.num_timesteps * self._skip, self._clock.seconds, mean])
            if self._limit is not None and mean >= self._threshold:
                self.ended = "threshold"


def fall_to_zero(first: float) -> LinearSchedule:
    """The schedule from a value to 0 over the steps of a training."""
    return LinearSchedule(first, 0.0)


def ppo_arguments(
    hyperparameters: Mapping[str, Any], fall: Callable[[float], Callable[[float], float]]
) -> dict[str, Any]:
    """Hyperparameters of agent_tasks.toml as arguments of SB3's PPO; `fall` makes a schedule."""
    arguments = dict(hyperparameters)
    for name, value in hyperparameters.items():
        if isinstance(value, str) and value.startswith("linear "):
            arguments[name] = fall(float(value.removeprefix("linear ")))
    policy = arguments.get("policy_kwargs", {})
    if policy.get("activation_fn") == "gelu":
        arguments["policy_kwargs"] = {**policy, "activation_fn": torch.nn.GELU}
    return arguments


def _curve(agent: Path) -> list[list[float]]:
    """Points (environment steps, seconds, training return) of an agent's progress.jsonl."""
    lines = strict_json.read_lines(agent / "progress.jsonl")
    points = [[line["frames"], line["seconds"], line.get("training_return")] for line in lines]
    return [point for point in points if point[2] is not None]


def _score(pair: Pair) -> float:
    return pair.score


def _log(line: str) -> None:
    print(line, flush=True)


def run_system(here: Here, task: Task, system: str, seed: int, folder: Path, tested: bool) -> str:
    """One job of the benchmark, in its own process."""
    configure_process()
    AgentRun(task, system, seed, here(folder)).run(tested=tested)
    return "finished"


def act_uniformly(task: Task, _: StageClock) -> dict[str, Any]:
    skip, arguments = load_recipe(task["recipe"]).frame_skip, task["env_kwargs"]
    played = evaluate_random(task["env_id"], episodes=20, frame_skip=skip, env_kwargs=arguments)
    return {"returns": played.returns, "engine": played.engine}


def run_task(
    name: str,
    task: Task,
    systems: Sequence[str],
    seeds: int,
    out: Path,
    tested: bool,
    executor: Executor | None = None,
) -> None:
    """Run systems and seeds one after the other, so that no run slows another down.

    An executor runs the seeds of a system at the same time, one on each machine or share of it.
    """
    folder = out.absolute() / name
    for system in systems if executor else [None]:
        jobs = [
            _make_job(task, each, folder / f"seed-{seed}", seed, tested)
            for seed in range(seeds)
            for each in ([system] if system else systems)
        ]
        _run(jobs, executor)
    if tested:
        run_stage(folder / "uniform", partial(act_uniformly, task), log=_log)


def _make_job(task: Task, system: str, folder: Path, seed: int, tested: bool) -> Job:
    """The job of one system with one seed; a training on pixels reads how long ours took."""
    reads = () if system == "ours" else (folder / "ours",)
    arguments = (task, system, seed, folder / system, tested)
    writes = (folder / "data", folder / system)
    return Job(f"{system}-seed{seed}", run_system, arguments, reads=reads, writes=writes)


def _run(jobs: Sequence[Job], executor: Executor | None) -> None:
    failures = run_all(jobs, executor, workers=1 if executor is None else None, progress=False)
    if failures:
        raise SystemExit("\n".join(f"{job} failed: {error}" for job, error in failures.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks_file = Path(__file__).with_name("agent_tasks.toml")
    parser.add_argument("--task", help="task to run (default: run nothing)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["ours"])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0")
    parser.add_argument("--executor", default="local", help="local, ray, or ray://HOST:PORT")
    parser.add_argument("--no-tests", action="store_true", help="leave out the tests for now")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of all runs")
    parser.add_argument("--tasks", type=Path, default=tasks_file, help="file with the tasks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of all runs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write RESULTS.md")
    arguments = parser.parse_args()
    configure_process()
    tasks = read_tasks(arguments.tasks)
    if arguments.task is not None:
        if arguments.task not in tasks:
            parser.error(f"--task: choose one of {', '.join(tasks)}")
        task, tested = tasks[arguments.task], not arguments.no_tests
        systems, seeds, out = arguments.systems, arguments.seeds, arguments.out
        with executor_from(arguments.executor) or contextlib.nullcontext() as executor:
            run_task(arguments.task, task, systems, seeds, out, tested, executor)
    names = ("env_id", "recipe", "threshold", "test_episodes")
    shown = {name: {key: task[key] for key in names} for name, task in tasks.items()}
    if arguments.write is not None:
        write_results(arguments.write, shown, arguments.out)
    figures = figures_of(shown, arguments.out)
    for name, value in figures.items():
        print(f"{name:50} {value:.6g}")
    if arguments.json is not None:
        write_figures(arguments.json, figures, range(arguments.seeds))


if __name__ == "__main__":
    main()
