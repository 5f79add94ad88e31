"""What a return costs from nothing, for each way to see: ours, pixels, and codes that learned less.

    ours         frames, a VAE, SB3 on its stacked mean latents, rounds of refreshing
    unweighted   the same without refreshing, moving pixels counted like all others
    autoencoder  the same as ours without refreshing, with a plain autoencoder
    pca          the same with PCA's components in the VAE's place
    random       the same with the VAE's network as it was before training
    state        SB3 on the simulator's own state, where the task has one
    pixels       SB3's CnnPolicy on the same frames, skip, stack and actions, with the PPO
                 hyperparameters that rl_zoo3 2.9.2 has for the task (hyperparams/ppo.yml)
    zoo          the same with rl_zoo3's own frames, skip, stack, actions and reward scale too

A task's plan is data, below. Each stage leaves its folder and STAGE.json with its seconds in
OUT/TASK/seed-S/SYSTEM; the same command goes on with what is missing, a collection or a training
of ours in the middle. Seconds are those in which a stage ran, over all its sittings; while the
process was stopped they did not pass. Checks, by which the best pair of agent and VAE is kept, are
part of the cost; the tests are not, nor is starting Python.
A training on pixels ends where it has the threshold, or after five times the seconds that ours of
the same seed took to get there (all its seconds, where it did not).

    python benchmarks/benchmark_agents.py --task car_racing --systems ours pixels --seeds 3
    python benchmarks/benchmark_agents.py --write RESULTS.md

TASK_SYSTEM_return, _low, _high    mean over seeds of the deterministic agent's mean return on the
                                   test episodes, Student's t interval over seeds
TASK_SYSTEM_minutes                from nothing, mean over seeds
TASK_SYSTEM_seconds_to_threshold   mean over seeds, where all got there; from nothing to a mean
                                   return of the last 100 training episodes
TASK_ratio_SYSTEM                  those seconds, of SYSTEM over ours
"""

import argparse
import json
import os
import resource
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from rl_vae.agents.agent import Agent
from rl_vae.agents.algorithms import LinearSchedule
from rl_vae.agents.baselines import train_baseline
from rl_vae.agents.evaluate import (
    MAX_ENVS,
    evaluate_agent,
    evaluate_random,
)
from rl_vae.agents.recipe import Recipe, load_recipe
from rl_vae.agents.train import train_agent
from rl_vae.data.collect import collect_frames
from rl_vae.data.concat import ConcatDataset
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.policies import CollectionPolicy, Correlated
from rl_vae.envs.registry import EngineName, make_engine
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.frames import FrameSpec
from rl_vae.models.config import VAEConfig
from rl_vae.objectives.autoencoder import Autoencoder
from rl_vae.objectives.beta import Beta
from rl_vae.sb3 import MapActions, PixelVecEnv, play
from rl_vae.system import files, strict_json
from rl_vae.system.estimate import t_interval
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, package_versions, write_figures
from rl_vae.training.baselines import BASELINE_MODELS, write_baseline
from rl_vae.training.config import TrainConfig
from rl_vae.training.train import train_vae

SYSTEMS = ("ours", "unweighted", "autoencoder", "pca", "random", "state", "pixels", "zoo")
CAP = 5.0
"""Pixels get so many times the seconds of ours."""


@dataclass(frozen=True)
class Refresh:
    """Collect with the agent, go on with the VAE on all frames so far, go on with the agent."""

    frames: int
    vae_steps: int
    agent_steps: int
    """Decisions; 0: the agent stays as it is and sees through the new VAE."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe that change for this round, such as learning_rate."""
    gymnasium_frames: int = 0
    """As many more from Gymnasium's renderer, where the agent trains in another engine."""
    tested: bool = True


@dataclass(frozen=True)
class Pixels:
    """SB3's PPO with CnnPolicy, settings as in rl_zoo3's ppo.yml; None: as in our recipe."""

    hyperparameters: Mapping[str, Any]
    """"lin_X": from X to 0 over the training, as rl_zoo3 writes it."""
    normalize_reward: bool = False
    total_steps: int | None = None
    n_envs: int | None = None
    frame_skip: int | None = None
    stack: int | None = None
    spec: FrameSpec | None = None
    action_map: bool = True


@dataclass(frozen=True)
class Plan:
    """How a task is learned from nothing."""

    env_id: str
    recipe: str
    frames: int
    vae_steps: int
    pixels: Pixels
    threshold: float
    episode_frames: int
    """The longest episode, in environment steps."""
    spec: FrameSpec = field(default_factory=FrameSpec)
    exploration: CollectionPolicy = field(default_factory=Correlated)
    collect_skip: int = 1
    gymnasium_frames: int = 0
    latent_dim: int = 32
    batch_size: int = 64
    learning_rate: float = 1e-3
    refresh_learning_rate: float = 3e-4
    moving_weight: float = 1.0
    vae_compute: Any = "fast"
    refreshes: tuple[Refresh, ...] = ()
    tested: bool = True
    """Whether the agent before the first refresh is tested, too."""
    checks: int = 0
    """Episodes that every new pair of agent and VAE plays in the training engine, on seeds of
    evaluation set 1, never tested on; the best pair so far goes on. 0: the newest does."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    engine: EngineName = "auto"
    test_engine: EngineName = "gymnasium"
    episodes: int = 100
    """Of a test."""
    zoo: Pixels | None = None


ZOO_CAR_RACING: dict[str, Any] = {
    "learning_rate": "lin_1e-4",
    "n_steps": 512,
    "batch_size": 128,
    "n_epochs": 10,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.0,
    "use_sde": True,
    "sde_sample_freq": 4,
    "max_grad_norm": 0.5,
    "vf_coef": 0.5,
    "clip_range": 0.2,
    "policy_kwargs": {
        "log_std_init": -2.0,
        "ortho_init": False,
        "activation_fn": torch.nn.GELU,
        "net_arch": {"pi": [256], "vf": [256]},
    },
}

CAR_RACING = Plan(
    env_id="CarRacing-v3",
    recipe="ppo_car_racing",
    frames=10_000,
    vae_steps=2000,
    batch_size=48,
    learning_rate=1.5e-3,
    vae_compute="reference",
    spec=FrameSpec(height=64, width=64, crop=(0, 12, 0, 0)),
    exploration=Correlated(correlation=0.9, scale=0.5, bias=(0.0, -0.3, -1.2)),
    # With the noise of exp(-2.5) to the end, going on lowered what the mean action scores.
    refreshes=(
        Refresh(
            frames=10_000,
            vae_steps=1500,
            agent_steps=147_456,
            recipe={"learning_rate": 1e-4, "final_log_std": -4.0},
        ),
    ),
    checks=40,
    tested=False,
    threshold=600.0,
    episode_frames=1000,
    pixels=Pixels(
        hyperparameters=ZOO_CAR_RACING,
        normalize_reward=True,
        total_steps=1_000_000,
    ),
    zoo=Pixels(
        hyperparameters=ZOO_CAR_RACING,
        normalize_reward=True,
        total_steps=4_000_000,
        n_envs=8,
        frame_skip=2,
        stack=2,
        spec=FrameSpec(height=64, width=64, channels=1),
        action_map=False,
    ),
)

PONG = Plan(
    env_id="ALE/Pong-v5",
    recipe="ppo_pong",
    frames=10_000,
    vae_steps=4000,
    moving_weight=100.0,
    spec=FrameSpec(height=64, width=64, crop=(34, 16, 0, 0)),
    threshold=0.0,
    episode_frames=27_000,
    episodes=20,
    pixels=Pixels(
        hyperparameters={
            "learning_rate": "lin_2.5e-4",
            "n_steps": 128,
            "n_epochs": 4,
            "batch_size": 256,
            "vf_coef": 0.5,
            "ent_coef": 0.01,
            "clip_range": "lin_0.1",
        },
        n_envs=8,
    ),
)

PLANS = {
    "car_racing": CAR_RACING,
    "car_racing_long": replace(
        CAR_RACING,
        refreshes=tuple(
            replace(refresh, agent_steps=3 * refresh.agent_steps)
            for refresh in CAR_RACING.refreshes
        ),
    ),
    "car_racing_sac": replace(
        CAR_RACING,
        recipe="sac_car_racing",
        refreshes=(),
        checks=0,
        tested=True,
        episodes=20,
        zoo=None,
    ),
    "pong": PONG,
    "pong_long": replace(
        PONG,
        tested=False,
        refreshes=(
            Refresh(
                frames=10_000,
                vae_steps=2000,
                agent_steps=1_500_000,
                recipe={"learning_rate": 5e-4},
            ),
        ),
    ),
    "cartpole": Plan(
        env_id="CartPole-v1",
        recipe="ppo_cartpole",
        frames=6000,
        vae_steps=1000,
        threshold=475.0,
        episode_frames=500,
        episodes=20,
        pixels=Pixels(
            hyperparameters={
                "learning_rate": "lin_1e-3",
                "n_steps": 32,
                "batch_size": 256,
                "gae_lambda": 0.8,
                "gamma": 0.98,
                "n_epochs": 20,
                "ent_coef": 0.0,
                "clip_range": "lin_0.2",
            },
            n_envs=8,
        ),
    ),
    "pendulum": Plan(
        env_id="Pendulum-v1",
        recipe="sac_pendulum",
        frames=4000,
        vae_steps=1000,
        threshold=-250.0,
        episode_frames=200,
        episodes=20,
        pixels=Pixels(
            hyperparameters={
                "learning_rate": 1e-3,
                "n_steps": 1024,
                "gae_lambda": 0.95,
                "gamma": 0.9,
                "n_epochs": 10,
                "ent_coef": 0.0,
                "clip_range": 0.2,
                "use_sde": True,
                "sde_sample_freq": 4,
            },
            total_steps=100_000,
            n_envs=4,
        ),
    ),
    "minigrid": Plan(
        env_id="MiniGrid-Empty-8x8-v0",
        recipe="ppo_minigrid",
        frames=4000,
        vae_steps=600,
        exploration=Correlated(correlation=0.5),
        env_kwargs={"tile_size": 8},
        threshold=0.9,
        episode_frames=256,
        episodes=20,
        pixels=Pixels(
            hyperparameters={
                "learning_rate": 2.5e-4,
                "n_steps": 128,
                "batch_size": 64,
                "gae_lambda": 0.95,
                "gamma": 0.99,
                "n_epochs": 10,
                "ent_coef": 0.0,
                "clip_range": 0.2,
            },
            n_envs=8,
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=sorted(PLANS), help="what to learn; or only --write")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["ours"])
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 up")
    parser.add_argument("--no-tests", action="store_true", help="leave the tests for another time")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write tables and docs/ curves")
    arguments = parser.parse_args()
    configure_process()
    if arguments.task:
        for seed in range(arguments.seeds):
            for system in arguments.systems:
                run_system(arguments.task, system, seed, arguments.out, not arguments.no_tests)
        plan = PLANS[arguments.task]
        if not arguments.no_tests:
            stage(arguments.out / arguments.task / "uniform", partial(act_uniformly, plan))
    results = read_results(arguments.out)
    for result in results:
        print(result.line())
    if arguments.write:
        write_results(arguments.write, results, arguments.out)
    if arguments.json:
        write_figures(arguments.json, all_figures(results), range(arguments.seeds))


class Clock:
    """Seconds of a stage over all its sittings, kept in a file every two seconds.

    A gap between two looks means that the process was stopped, or the machine asleep: such seconds
    are not counted, but that it was so is.
    """

    GAP = 30.0

    def __init__(self, path: Path, *, anew: bool) -> None:
        self._path = path
        if anew:
            path.unlink(missing_ok=True)
        kept = json.loads(path.read_bytes()) if path.is_file() else {}
        self.seconds: float = kept.get("seconds", 0.0)
        self.cpu_seconds: float = kept.get("cpu_seconds", 0.0)
        self.paused: float = kept.get("paused", 0.0)
        self.beside: float = kept.get("beside", 0.0)
        self.sittings: int = kept.get("sittings", 0) + 1
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._looked, self._cpu, self._busy = time.monotonic(), _cpu_seconds(), _busy_seconds()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def read(self) -> dict[str, float]:
        """What there is to say of a finished stage; `beside`: cores that other processes used."""
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "sittings": self.sittings,
            "paused": self.paused,
            "beside": max(0.0, self.beside - self.cpu_seconds) / max(self.seconds, 1e-9),
        }

    def _run(self) -> None:
        while not self._over.wait(2.0):
            self._look()

    def _look(self) -> None:
        now, cpu, busy = time.monotonic(), _cpu_seconds(), _busy_seconds()
        if now - self._looked > self.GAP:
            self.paused += now - self._looked
        else:
            self.seconds += now - self._looked
            self.beside += busy - self._busy
        self.cpu_seconds += cpu - self._cpu
        self._looked, self._cpu, self._busy = now, cpu, busy
        state = {name: getattr(self, name) for name in ("seconds", "cpu_seconds", "paused")}
        state |= {"beside": self.beside, "sittings": self.sittings}
        files.write_whole(self._path, json.dumps(state).encode())


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _busy_seconds() -> float:
    """Of all cores and processes, since the machine started; 0 where nobody says."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    user, nice, system = stat.read_text().split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def stage(
    path: Path, work: Callable[[Clock], Mapping[str, Any] | None], *, goes_on: bool = True
) -> dict[str, Any]:
    """Do a part of a run unless it is done; what it returns stands in PATH.json with its seconds.

    `goes_on`: whether the work itself takes up an interrupted sitting; else its clock begins anew.
    """
    done = path.with_name(path.name + ".json")
    if done.is_file():
        found: dict[str, Any] = json.loads(done.read_bytes())
        return found
    print(f"{path}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    running = path.with_name(path.name + ".clock")
    with Clock(running, anew=not goes_on) as clock:
        result = work(clock) or {}
    content = {**clock.read(), **result}
    strict_json.write_json(done, content)
    running.unlink()
    print(f"{path}: {content['seconds']:.0f} s", flush=True)
    return content


def run_system(task: str, system: str, seed: int, out: Path, tested: bool = True) -> None:
    plan = PLANS[task]
    if system == "unweighted":
        plan = replace(plan, moving_weight=1.0)
    home = out / task / f"seed-{seed}" / system
    home.mkdir(parents=True, exist_ok=True)
    note_run(home, plan, seed)
    if system in ("pixels", "zoo"):
        run_on_pixels(plan, system, seed, home, tested)
    elif system == "state":
        run_on_state(plan, seed, home)
    else:
        run_encoded(plan, system, seed, home, tested)


def note_run(home: Path, plan: Plan, seed: int) -> None:
    """Keep what is run, and on what; refuse to go on with something else."""
    plain = json.loads(json.dumps(asdict(plan), default=repr))
    plain["recipe"] = load_recipe(plan.recipe).to_dict()
    path = home / "run.json"
    if path.is_file():
        known = json.loads(path.read_bytes())
        if known["plan"] != plain:
            changed = [name for name in plain if known["plan"].get(name) != plain[name]]
            raise SystemExit(
                f"{home} was begun with another {', '.join(changed)}: take another --out"
            )
        return
    run = {"plan": plain, "seed": seed, "commit": git_commit(__file__), "machine": machine()}
    strict_json.write_json(path, {**run, "versions": package_versions()})


def run_encoded(plan: Plan, system: str, seed: int, home: Path, tested: bool) -> None:
    """Frames (the same for all systems of a seed), a code, an agent, rounds of refreshing."""
    recipe = load_recipe(plan.recipe)
    seen = collect(
        plan, home.parent / "data", plan.exploration, plan.frames, plan.collect_skip, seed
    )
    if plan.gymnasium_frames:
        more = replace(plan, engine="gymnasium")
        seen += collect(
            more,
            home.parent / "data-g",
            plan.exploration,
            plan.gymnasium_frames,
            plan.collect_skip,
            seed,
        )
    frames = seen[0] if len(seen) == 1 else ConcatDataset(seen)
    vae = home / "vae"
    stage(vae, partial(make_code, plan, system, frames, vae, seed))
    agent = home / "agent"
    stage(agent, partial(learn, plan, vae, agent, recipe, seed, None))
    refreshes = plan.refreshes if system == "ours" else ()
    # Where nothing follows there is nothing to choose from, and this agent is the one to test.
    best = check(plan, home / "check", agent, vae) if refreshes else Pair(0.0, agent, vae)
    tests = [("test", best)] if plan.tested or not refreshes else []
    for number, refresh in enumerate(refreshes, 1):
        now, new_vae, new_agent = (home / f"{name}-{number}" for name in ("data", "vae", "agent"))
        driver, eyes = best.agent, best.vae
        acting = Agent.load(driver, encoder=eyes)
        skip = acting.recipe.frame_skip
        seen += collect(plan, now, acting, refresh.frames, skip, seed + number)
        if refresh.gymnasium_frames:
            aside = replace(plan, engine="gymnasium")
            there = home / f"data-g-{number}"
            seen += collect(aside, there, acting, refresh.gymnasium_frames, skip, seed + number)
        joined = ConcatDataset(seen)
        config = vae_config_of(plan, "ours", seed, refresh.vae_steps, plan.refresh_learning_rate)
        stage(new_vae, partial(go_on_with_vae, joined, new_vae, config, eyes))
        seen_anew = check(plan, home / f"check-{number}", driver, new_vae)
        best = max(seen_anew, best, key=attrgetter("score"))
        if refresh.agent_steps:
            changed = replace(recipe, total_steps=refresh.agent_steps, **refresh.recipe)
            stage(new_agent, partial(learn, plan, new_vae, new_agent, changed, seed, driver))
            learned = check(plan, home / f"check-{number}-agent", new_agent, new_vae)
            best = max(learned, best, key=attrgetter("score"))
        if refresh.tested:
            tests.append((f"test-{number}", best))
    for name, pair in tests if tested else []:
        test = partial(test_agent, plan, pair, plan.episodes, plan.test_engine, 0)
        stage(home / name, test, goes_on=False)


class Pair(NamedTuple):
    """An agent and the VAE through which it sees."""

    score: float
    """Mean return in the checks; 0 where there are none, so that max() takes the first."""
    agent: Path
    vae: Path


def check(plan: Plan, path: Path, agent: Path, vae: Path) -> Pair:
    """Let a pair play the plan's checks, if it has any; their time counts."""
    pair = Pair(0.0, agent, vae)
    if not plan.checks:
        return pair
    played = stage(
        path, partial(test_agent, plan, pair, plan.checks, plan.engine, 1), goes_on=False
    )
    return pair._replace(score=statistics.fmean(played["returns"]))


def collect(
    plan: Plan, out: Path, acting: CollectionPolicy, frames: int, skip: int, seed: int
) -> list[FrameDataset]:
    made: list[FrameDataset] = []

    def work(_: Clock) -> dict[str, Any]:
        made.append(
            collect_frames(
                plan.env_id,
                out,
                n_frames=frames,
                spec=plan.spec,
                policy=acting,
                seed=seed,
                engine=plan.engine,
                frame_skip=skip,
                env_kwargs=plan.env_kwargs,
            )
        )
        return {"frames": frames * skip}

    stage(out, work)
    return made or [FrameDataset.open(out)]


def vae_config_of(plan: Plan, system: str, seed: int, steps: int, rate: float) -> TrainConfig:
    return TrainConfig(
        objective=Autoencoder() if system == "autoencoder" else Beta(),
        steps=steps,
        batch_size=plan.batch_size,
        learning_rate=rate,
        moving_weight=plan.moving_weight,
        seed=seed,
        compute=plan.vae_compute,
    )


def make_code(
    plan: Plan, system: str, frames: FrameDataset, out: Path, seed: int, _: Clock
) -> None:
    made_of = VAEConfig(latent_dim=plan.latent_dim)
    if system in BASELINE_MODELS:
        write_baseline(system, frames, out, made_of, seed=seed)
    else:
        config = vae_config_of(plan, system, seed, plan.vae_steps, plan.learning_rate)
        train_vae(frames, out, made_of, config)


def go_on_with_vae(
    frames: FrameDataset, out: Path, config: TrainConfig, start: Path, _: Clock
) -> None:
    train_vae(frames, out, None, config, start=start)


def learn(
    plan: Plan, vae: Path, out: Path, recipe: Recipe, seed: int, start: Path | None, _: Clock
) -> dict[str, Any]:
    trained = train_agent(
        plan.env_id,
        vae,
        out,
        recipe,
        seed=seed,
        engine=plan.engine,
        env_kwargs=plan.env_kwargs,
        evaluations=0,
        start=start,
    )
    # The first episodes to end after a fresh start are no fair sample of all.
    fair = 0 if start is None else recipe.n_envs * plan.episode_frames
    return {
        "frames": trained.frames,
        "engine": trained.engine,
        "curve": [point for point in curve_of(out) if point[0] >= fair],
    }


def curve_of(agent: Path) -> list[list[float]]:
    """Environment steps, seconds and training return, as the agent's folder keeps them."""
    lines = strict_json.read_lines(agent / "progress.jsonl")
    points = [[line["frames"], line["seconds"], line.get("training_return")] for line in lines]
    return [point for point in points if point[2] is not None]


def test_agent(
    plan: Plan, pair: Pair, episodes: int, engine: EngineName, seeds: int, _: Clock
) -> dict[str, Any]:
    loaded = Agent.load(pair.agent, encoder=pair.vae)
    played = evaluate_agent(loaded, episodes=episodes, engine=engine, seed=seeds)
    names = {"agent": pair.agent.name, "vae": pair.vae.name}
    return {"returns": played.returns.tolist(), "engine": played.engine, **names}


def run_on_state(plan: Plan, seed: int, home: Path) -> None:
    """Our recipe on the simulator's state; frames only say how to scale it, and cost nothing."""
    recipe, out = load_recipe(plan.recipe), home / "agent"
    aside = home.parent / "data-scale"

    def work(_: Clock) -> dict[str, Any]:
        dataset = collect_frames(
            plan.env_id,
            aside,
            n_frames=1000,
            policy=plan.exploration,
            seed=seed,
            engine="gymnasium",
            env_kwargs=plan.env_kwargs,
        )
        baseline = train_baseline(
            "state", dataset, out, recipe, episodes=plan.episodes, seed=seed, evaluations=0
        )
        return {
            "seconds": baseline.seconds,
            "frames": recipe.total_steps * recipe.frame_skip,
            "engine": "gymnasium",
            "curve": curve_of(out),
            "returns": baseline.returns.tolist(),
        }

    made = stage(out, work)
    stage(home / "test", lambda _: {"returns": made["returns"], "engine": "gymnasium"})


def run_on_pixels(plan: Plan, system: str, seed: int, home: Path, tested: bool) -> None:
    """SB3 without a code: one training, one test."""
    recipe = load_recipe(plan.recipe)
    pixels = settle(plan, recipe, plan.zoo if system == "zoo" else plan.pixels)
    skip, total = pixels.frame_skip or 1, pixels.total_steps or recipe.total_steps
    settings: dict[str, Any] = {"policy": "CnnPolicy", **pixels.hyperparameters}
    for name, value in pixels.hyperparameters.items():
        if isinstance(value, str) and value.startswith("lin_"):
            settings[name] = LinearSchedule(float(value.removeprefix("lin_")), 0.0)

    def work(clock: Clock) -> dict[str, Any]:
        venv: VecEnv = open_frames(plan, recipe, pixels, pixels.n_envs or 1, plan.engine, seed)
        engine = venv.unwrapped.vector_env.name  # type: ignore[attr-defined]
        if pixels.normalize_reward:
            gamma = float(pixels.hyperparameters.get("gamma", 0.99))
            venv = VecNormalize(venv, norm_obs=False, norm_reward=True, gamma=gamma)
        limit = seconds_for_pixels(plan, home)
        watch = Watch(clock, total, skip, limit, None if limit is None else plan.threshold)
        try:
            model = PPO(env=venv, seed=seed, device="cpu", **settings)
            model.learn(total, callback=watch)
            model.save(home / "model.zip")
        finally:
            venv.close()
        return {
            "frames": model.num_timesteps * skip,
            "engine": engine,
            "curve": watch.curve,
            "ended": watch.ended,
            "limit": limit,
        }

    def test(_: Clock) -> dict[str, Any]:
        model = PPO.load(home / "model.zip", device="cpu")  # this run's own file
        lanes = min(plan.episodes, MAX_ENVS)
        venv = open_frames(plan, recipe, pixels, lanes, plan.test_engine, seed)
        engine = venv.unwrapped.vector_env.name  # type: ignore[attr-defined]
        first = evaluation_seeds(plan.episodes)[0]
        try:
            played = play(
                venv, lambda seen: model.predict(seen, deterministic=True)[0], plan.episodes, first
            )
        finally:
            venv.close()
        return {"returns": played.returns.tolist(), "engine": engine}

    stage(home / "agent", work, goes_on=False)
    if tested:
        stage(home / "test", test, goes_on=False)


def settle(plan: Plan, recipe: Recipe, pixels: Pixels | None) -> Pixels:
    """With our recipe's values where rl_zoo3's are not wanted."""
    if pixels is None:
        raise SystemExit(f"rl_zoo3 has no settings for {plan.env_id} on pixels")
    ours: dict[str, Any] = {
        "n_envs": recipe.n_envs,
        "frame_skip": recipe.frame_skip,
        "stack": recipe.stack,
    }
    ours |= {"total_steps": recipe.total_steps, "spec": plan.spec}
    missing = {name: value for name, value in ours.items() if getattr(pixels, name) is None}
    return replace(pixels, **missing)


def open_frames(
    plan: Plan, recipe: Recipe, pixels: Pixels, lanes: int, engine: EngineName, seed: int
) -> VecEnv:
    venv: VecEnv = PixelVecEnv(
        make_engine(
            plan.env_id,
            lanes,
            engine=engine,
            spec=pixels.spec,
            frame_skip=pixels.frame_skip or 1,
            env_kwargs=plan.env_kwargs,
        ),
        seed,
    )
    if recipe.action_map is not None and pixels.action_map:
        venv = MapActions(venv, recipe.action_map)
    return VecFrameStack(VecMonitor(venv), pixels.stack or 1)


class Watch(BaseCallback):
    """Keeps the curve as train_agent does, and ends a training that has taken long enough."""

    def __init__(
        self, clock: Clock, total: int, skip: int, limit: float | None, threshold: float | None
    ) -> None:
        super().__init__()
        self._clock, self._skip, self._limit, self._threshold = clock, skip, limit, threshold
        self._every = max(1, total // 50)
        self._recorded = 0
        self._recent: list[float] = []
        self.curve: list[list[float]] = []
        self.ended = "steps"

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self._recent = [*self._recent[-99:], float(info["episode"]["r"])]
        if self._limit is not None and self._clock.seconds > self._limit:
            self.ended = "seconds"
        return self.ended == "steps"

    def _on_rollout_start(self) -> None:
        if self.num_timesteps - self._recorded >= self._every:
            self._record()

    def _on_training_end(self) -> None:
        self._record()

    def _record(self) -> None:
        self._recorded = self.num_timesteps
        if self._recent:
            mean = statistics.fmean(self._recent)
            self.curve.append([self.num_timesteps * self._skip, self._clock.seconds, mean])
            if self._threshold is not None and mean >= self._threshold:
                self.ended = "threshold"


def act_uniformly(plan: Plan, _: Clock) -> dict[str, Any]:
    played = evaluate_random(
        plan.env_id,
        episodes=20,
        frame_skip=load_recipe(plan.recipe).frame_skip,
        engine=plan.engine,
        env_kwargs=plan.env_kwargs,
    )
    return {"returns": played.returns.tolist(), "engine": played.engine}


def seconds_for_pixels(plan: Plan, home: Path) -> float | None:
    """How long a training on pixels may take; None where ours has not been run."""
    ours = read_run(home.parent / "ours")
    if ours is None:
        return None
    there = ours.seconds_to(plan.threshold)
    return CAP * (ours.seconds if there is None else there)


class Point(NamedTuple):
    """A place on a learning curve, counted from nothing."""

    frames: float
    seconds: float
    value: float


class Test(NamedTuple):
    """What an agent scored, and what it had cost until then."""

    seconds: float
    frames: float
    returns: list[float]


@dataclass(frozen=True)
class Run:
    """One seed of one system."""

    seed: int
    told: Mapping[str, Any]
    parts: Mapping[str, float]
    """Seconds of collecting, of the VAE and of RL."""
    frames: float
    cpu_seconds: float
    curve: Sequence[Point]
    tests: Sequence[Test]
    whole: bool
    """Whether no stage was interrupted: the seconds along the curve are then right."""
    beside: float
    """Cores that other processes used meanwhile."""
    ended: str

    @property
    def seconds(self) -> float:
        """From nothing to the last agent."""
        return sum(self.parts.values())

    @property
    def score(self) -> float | None:
        """Mean return of the last agent."""
        return statistics.fmean(self.tests[-1].returns) if self.tests else None

    def seconds_to(self, threshold: float) -> float | None:
        """From nothing to that mean return in training."""
        return next((point.seconds for point in self.curve if point.value >= threshold), None)


def read_run(home: Path) -> Run | None:
    """What the stages of a run left; None before its first agent is there."""
    if not (home / "agent.json").is_file():
        return None
    parts = {"collect": 0.0, "vae": 0.0, "agent": 0.0}
    stages: list[dict[str, Any]] = []
    curve: list[Point] = []
    tests: list[Test] = []
    frames = 0.0

    def add(path: Path, part: str) -> None:
        nonlocal frames
        if not path.is_file():
            return
        found = json.loads(path.read_bytes())
        before, learned = sum(parts.values()), found.get("curve", [])
        # What a stage takes before its first step and after its last is counted before its curve.
        if learned:
            before += max(0.0, found["seconds"] - learned[-1][1])
        curve.extend(Point(frames + f, before + s, value) for f, s, value in learned)
        parts[part] += found["seconds"]
        frames += found.get("frames", 0)
        stages.append(found)

    def add_test(path: Path) -> None:
        if path.is_file():
            returns = json.loads(path.read_bytes())["returns"]
            tests.append(Test(sum(parts.values()), frames, returns))

    if (home / "vae.json").is_file():
        for name in ("data", "data-g"):
            add(home.parent / f"{name}.json", "collect")
    add(home / "vae.json", "vae")
    add(home / "agent.json", "agent")
    add(home / "check.json", "agent")
    add_test(home / "test.json")
    number = 1
    while (home / f"vae-{number}.json").is_file():
        for name in ("data", "data-g"):
            add(home / f"{name}-{number}.json", "collect")
        add(home / f"vae-{number}.json", "vae")
        add(home / f"check-{number}.json", "agent")
        add(home / f"agent-{number}.json", "agent")
        add(home / f"check-{number}-agent.json", "agent")
        add_test(home / f"test-{number}.json")
        number += 1
    told = json.loads((home / "run.json").read_bytes())
    seconds = sum(each["seconds"] for each in stages)
    return Run(
        seed=told["seed"],
        told=told,
        parts=parts,
        frames=frames,
        cpu_seconds=sum(each["cpu_seconds"] for each in stages),
        curve=curve,
        tests=tests,
        whole=all(each["sittings"] == 1 and not each["paused"] for each in stages),
        beside=sum(each["beside"] * each["seconds"] for each in stages) / max(seconds, 1e-9),
        ended=str(stages[-1].get("ended", "steps")),
    )


@dataclass(frozen=True)
class Result:
    """All seeds of one system on one task."""

    task: str
    system: str
    runs: Sequence[Run]

    @property
    def plan(self) -> Plan:
        return PLANS[self.task]

    @property
    def scores(self) -> list[float]:
        return [run.score for run in self.runs if run.score is not None]

    def line(self) -> str:
        name = f"{self.task} {self.system}"
        minutes = statistics.fmean(run.seconds for run in self.runs) / 60
        score = _interval(self.scores) if self.scores else "not tested"
        return f"{name:24} {score:32} {minutes:7.1f} minutes, {len(self.runs)} seeds"

    def seconds_to(self) -> list[float | None]:
        return [run.seconds_to(self.plan.threshold) for run in self.runs]


def read_results(out: Path) -> list[Result]:
    found = []
    for task in PLANS:
        for system in SYSTEMS:
            homes = sorted(out.glob(f"{task}/seed-*/{system}"))
            runs = [run for home in homes if (run := read_run(home)) is not None]
            if runs:
                found.append(Result(task, system, sorted(runs, key=lambda run: run.seed)))
    return found


def all_figures(results: Sequence[Result]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for result in results:
        name = f"{result.task}_{result.system}"
        if result.scores:
            mean, low, high = t_interval(result.scores)
            figures |= {f"{name}_return": mean, f"{name}_low": low, f"{name}_high": high}
        figures[f"{name}_minutes"] = statistics.fmean(run.seconds for run in result.runs) / 60
        reached = [seconds for seconds in result.seconds_to() if seconds is not None]
        if len(reached) == len(result.runs):
            figures[f"{name}_seconds_to_threshold"] = statistics.fmean(reached)
    for task in PLANS:
        ours = figures.get(f"{task}_ours_seconds_to_threshold")
        for system in SYSTEMS[1:]:
            other = figures.get(f"{task}_{system}_seconds_to_threshold")
            if ours and other:
                figures[f"{task}_ratio_{system}"] = other / ours
    return figures


COLOURS = ["#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#999999", "#e69f00", "#d55e00", "#8c510a"]


def write_results(path: Path, results: Sequence[Result], out: Path) -> None:
    """RESULTS.md and, beside it, docs/learning-TASK.png."""
    docs = path.parent / "docs"
    docs.mkdir(exist_ok=True)
    text = [HEAD, _machines(results)]
    for task in PLANS:
        mine = [result for result in results if result.task == task]
        if not mine:
            text += [_without_runs(task)] if task in NOTES else []
            continue
        picture = docs / f"learning-{task.replace('_', '-')}.png"
        draw_curves(picture, mine)
        text += [_section(task, mine, f"docs/{picture.name}", out / task / "uniform.json")]
    files.write_whole(path, "\n".join(text).encode())


HEAD = """# Results

Written by `python benchmarks/benchmark_agents.py --write RESULTS.md`; figures in tables are read \
from its runs, remarks stand in the script.

A score is the mean return of whole episodes that the deterministic agent plays on environment \
seeds it never trained on (`rl_vae.envs.seeds.evaluation_seeds`, set 0). Brackets hold Student's t 95 % \
interval of the mean over training seeds; scores of single seeds stand beside it. Minutes are \
wall-clock from nothing: collecting, the VAE, RL, every refresh; not the test, nor starting \
Python. Where other programs had the cores too, the table says how much of them, and CPU minutes \
are the fairer number. Frames are environment steps, those of collecting included.
"""


def _machines(results: Sequence[Result]) -> str:
    told = [run.told for result in results for run in result.runs]
    if not told:
        return "Nothing has been run yet.\n"
    rows = sorted({(t["machine"]["processor"], str(t["machine"]["cores"])) for t in told})
    commits = ", ".join(sorted({t["commit"] for t in told}))
    names = ("python", "torch", "gymnasium", "stable-baselines3")
    packages = ", ".join(f"{name} {told[0]['versions'][name]}" for name in names)
    machines = "; ".join(f"{cores} cores of {processor}" for processor, cores in rows)
    return f"Machine: {machines}, no GPU. Commit {commits}; {packages}.\n"


def _section(task: str, results: Sequence[Result], picture: str, uniform: Path) -> str:
    plan = PLANS[task]
    systems = " ".join(result.system for result in results)
    most = max(len(result.runs) for result in results)
    lines = [
        f"## {plan.env_id}: {task}\n",
        f"![Return against frames and minutes]({picture})\n",
    ]
    lines += [
        f"    python benchmarks/benchmark_agents.py --task {task} --systems {systems} --seeds {most}\n"
    ]
    lines += [f"{plan.episodes} episodes a test, by {plan.test_engine}; recipe `{plan.recipe}`."]
    if uniform.is_file():
        played = json.loads(uniform.read_bytes())["returns"]
        lines[-1] += f" Actions drawn uniformly: {_interval(played)} over {len(played)} episodes."
    lines += [""]
    lines += [
        "| system | score, over seeds | each seed | frames | minutes | collecting, VAE, RL | "
        f"CPU minutes | cores that others used | seconds to {plan.threshold:g} |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(result) for result in results]
    lines += ["", *_milestones(results), *_ratios(results), *NOTES.get(task, ())]
    return "\n".join(lines) + "\n"


def _without_runs(task: str) -> str:
    command = f"    python benchmarks/benchmark_agents.py --task {task} --systems ours --seeds 3\n"
    said = ["No seed has been run to the end yet.\n", *NOTES[task]]
    plan = PLANS[task]
    return "\n".join([f"## {plan.env_id}: {task}\n", command, *said])


def _row(result: Result) -> str:
    runs = result.runs
    parts = ", ".join(
        f"{statistics.fmean(run.parts[part] for run in runs) / 60:.1f}"
        for part in ("collect", "vae", "agent")
    )
    cells = [
        result.system,
        _interval(result.scores) if result.scores else "not tested",
        ", ".join(f"{score:.4g}" for score in result.scores),
        f"{statistics.fmean(run.frames for run in runs):,.0f}",
        f"{statistics.fmean(run.seconds for run in runs) / 60:.1f}",
        parts,
        f"{statistics.fmean(run.cpu_seconds for run in runs) / 60:.1f}",
        f"{statistics.fmean(run.beside for run in runs):.1f}",
        ", ".join(_seconds(run, result.plan.threshold) for run in runs),
    ]
    return "| " + " | ".join(cells) + " |"


def _seconds(run: Run, threshold: float) -> str:
    there = run.seconds_to(threshold)
    text = f"not in {run.seconds:.0f}" if there is None else f"{there:.0f}"
    return text if run.whole else text + " (interrupted)"


def _interval(values: Sequence[float]) -> str:
    mean, low, high = t_interval(values)
    return f"{mean:.4g}" if len(values) == 1 else f"{mean:.4g} [{low:.4g}, {high:.4g}]"


def _milestones(results: Sequence[Result]) -> list[str]:
    """What ours had scored before each refresh and after it, where there was one."""
    ours = next((result for result in results if result.system == "ours"), None)
    if ours is None or max(len(run.tests) for run in ours.runs) < 2:
        return []
    lines = ["Ours, each time that it was tested:\n", "| minutes | frames | mean ± deviation over"]
    lines[-1] += " the episodes, each seed | mean over seeds |"
    lines += ["|---|---|---|---|"]
    for tests in zip(*(run.tests for run in ours.runs), strict=False):
        means = [statistics.fmean(test.returns) for test in tests]
        each = [
            f"{m:.4g} ± {statistics.stdev(t.returns):.3g}"
            for m, t in zip(means, tests, strict=True)
        ]
        minutes = ", ".join(f"{test.seconds / 60:.1f}" for test in tests)
        frames = f"{statistics.fmean(test.frames for test in tests):,.0f}"
        lines.append(f"| {minutes} | {frames} | {', '.join(each)} | {_interval(means)} |")
    return [*lines, ""]


def _ratios(results: Sequence[Result]) -> list[str]:
    """How much sooner ours had the threshold than pixels, seed by seed."""
    ours = next((result for result in results if result.system == "ours"), None)
    lines = []
    for other in results:
        if ours is None or other.system not in ("pixels", "zoo"):
            continue
        by_seed = {run.seed: run for run in ours.runs}
        said = []
        for run in other.runs:
            mine = by_seed.get(run.seed)
            needed = None if mine is None else mine.seconds_to(ours.plan.threshold)
            if needed is None:
                continue
            there = run.seconds_to(ours.plan.threshold)
            most = "more than " if there is None else ""
            said.append(f"{most}{(run.seconds if there is None else there) / needed:.1f}")
        if said:
            lines.append(
                f"Seconds from nothing to a training return of {ours.plan.threshold:g}, "
                f"{other.system} over ours, each seed: {', '.join(said)}. A training on pixels is "
                f"ended after {CAP:g} times the seconds of ours.\n"
            )
    return lines


def draw_curves(path: Path, results: Sequence[Result]) -> None:
    """Training return of every seed, against frames and against minutes, from nothing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    both: Any = figure.subplots(1, 2, sharey=True)
    for axes, what, unit in zip(both, ("frames", "seconds"), (1.0, 60.0), strict=True):
        for result in results:
            colour = COLOURS[SYSTEMS.index(result.system)]
            for run in result.runs:
                xs = [getattr(point, what) / unit for point in run.curve]
                ys = [point.value for point in run.curve]
                label = result.system if run is result.runs[0] else None
                axes.plot(xs, ys, color=colour, label=label, linewidth=1.3)
        axes.set_xlabel("environment frames" if what == "frames" else "minutes")
        axes.axhline(results[0].plan.threshold, color="0.35", linestyle=":", linewidth=1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    both[0].set_ylabel("mean return, last 100\ntraining episodes")
    both[0].legend(frameon=False)
    with files.whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


NOTES: dict[str, Sequence[str]] = {
    "car_racing": (
        "What the rounds gave, 40 EnvPool tracks of evaluation set 1, seeds 0, 1, 2: the first "
        "agent 766, 657, 575; the same through the refreshed VAE 822, 792, 612; after 147,456 more "
        "decisions while the noise falls from exp(-2.5) to exp(-4) 819, 845, 735. Tried and left: "
        "73,728 more decisions with the noise at exp(-2.5) 653, 726 (seeds 0, 1); a second refresh "
        "of the VAE, the agent as it was, 754, 726. The plan was chosen by these tracks and seeds; "
        "the 100 tracks of the test were driven once, by the agents in the table. What comes "
        "before the second training was run at commit 8319ad2, that training at 76ff46e.\n",
        "Why going on with noise did harm: that agent of seed 1 scored 726 by its mean action, 763 "
        "by the mean of its clipped actions, 814 with the noise on its pedal alone, 814 with it on "
        "the wheel alone and 850 with both. Its mean action gets stuck where noise would free it, "
        "and with noise PPO never had to leave such places by itself.\n",
        "Where the time goes: on pixels SB3 makes 133 to 164 decisions a second with all updates, "
        "on codes 575 to 632, and it needs more of them: seed 2 had 600 after 1.1 million frames, "
        "ours after 0.19, 0.24 and 0.36 million, those of collecting included. What pixels return "
        "was recorded some 150 seconds apart: seed 2 passed 600 between 1,737 and 1,875 seconds, "
        "4.6 to 5.0 times ours, whose seed 2 needed the refreshed VAE to get there. Seeds 0 and 1 "
        "stood at -53 and -12 when they were ended.\n",
    ),
    "minigrid": (
        "With an entropy coefficient of 0.01, eight epochs and a learning rate of 1e-3 seed 2 fell "
        "from .59, what nearly random steps find, to 0 in its first 20,000 decisions and stayed "
        "there: the goal is the only reward, and a policy that no longer meets it learns nothing "
        "more. Now 0.03, four epochs, 5e-4. The shortest way is worth .961.\n",
    ),
    "car_racing_sac": (
        "One VAE, no refresh, 20 tracks. SAC takes longer than PPO's first training, two minutes, "
        "and drives no better than what that leaves (766, 657, 575 on EnvPool tracks).\n",
    ),
    "pong": (
        "What moving-pixel weights change, R^2 of probes from one code to the RAM's positions, "
        "4,000 frames, 1,500 updates, two seeds (`benchmarks/study_moving_pixels.py --seeds 2 "
        "--moving-weight 100`): without weights a linear probe reads ball x .14, .02, ball y .21, "
        ".86, the own paddle 1.00, -.04, the other's .22, .86; with weight 100 .88, .71; .97, "
        ".97; .72, .52; .97, .97, and an MLP .95, .79; .99, .98; .99, .84; .99, .98. So the "
        "paddle is in the code, though not on a line. The recipe trains longer on more frames.\n",
        "Training returns lag behind: over its last 100 episodes seed 0 had -3.5.\n",
    ),
    "pong_long": (
        "The stages of `pong`, seed 0, run once, then its VAE refreshed with what that agent saw "
        "and as many decisions again. Every one of the 20 games was won.\n",
    ),
    "car_racing_long": (
        "The stages of `car_racing`, seed 0, up to its refreshed VAE, run once; then a second "
        "training three times as long: 846 +- 121 over the tracks, median 880, where `car_racing` "
        "has 831. One seed. World Models' 906 with a world model is not reached.\n",
    ),
}
"""What was tried for a task, and what a table cannot say."""


if __name__ == "__main__":
    main()
