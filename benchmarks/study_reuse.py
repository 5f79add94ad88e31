"""Study of reuse: one code for several rewards, whose cost is counted once.

A world has one environment and several rewards: its own, and those of reuse_games.py. One beta-VAE
is trained on frames of it, without any reward. For each reward, agents with the same recipe learn
on this code, on pixels (SB3's CnnPolicy) and, if the engine reads it, on the simulator's state.
Every run has a process with one thread.

    python benchmarks/study_reuse.py --world sprites --seeds 5
    python benchmarks/study_reuse.py --write

Finished runs are added to docs/reuse_study.json, and are not repeated, on no machine. An
interrupted study continues with the same command. --write makes docs/reuse_study.md from that file.

WORLD_REWARD_SYSTEM_return, _low, _high    mean over seeds with Student's t interval
WORLD_SYSTEM_minutes                       minutes of one seed of all rewards, the code included
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import reuse_games as games  # type: ignore[import-not-found]
from kept_runs import (  # type: ignore[import-not-found]
    Part,
    Run,
    add_arguments,
    cell,
    origin,
    origins,
    read_runs,
    report,
    run_part,
    write_runs,
)
from study_comparison import STUDIES  # type: ignore[import-not-found]

from rl_vae import ComparisonConfig, FrameSpec, TrainConfig, VAEConfig, collect_frames, train_vae
from rl_vae.agents.recipe import load_recipe
from rl_vae.objectives.beta import Beta
from rl_vae.system import files
from rl_vae.system.estimate import t_interval
from rl_vae.system.process_settings import configure_process

FILE = Path(__file__).resolve().parents[1] / "docs" / "reuse_study.json"
CODE = "model-code"
"""Name of the code's system in a comparison: that of a model folder named "code"."""


class World(NamedTuple):
    """One environment with several rewards."""

    config: ComparisonConfig
    """Its comparison, whose baselines are completed by the code."""
    rewards: Mapping[str, tuple[Any, ...]]
    """Wrappers of each reward, by its name."""


PLAIN = replace(STUDIES["sprites"], betas=(), baselines=("pixels", "state"))
WORLDS = {
    "sprites": World(
        PLAIN,
        {"target": (), "away from the target": (games.AwayFromTarget,), "corner": (games.Corner,)},
    ),
    "car_racing": World(
        replace(
            PLAIN,
            env_id="CarRacing-v3",
            recipe=replace(load_recipe("ppo_car_racing"), total_steps=24_576, n_envs=8),
            baselines=("pixels",),
            frames=10_000,
            spec=FrameSpec(crop=(0, 12, 0, 0)),
            vae=VAEConfig(),
            train=TrainConfig(steps=2_000),
            episodes=10,
        ),
        {"forwards": (), "slowly": (games.SlowDriving,), "backwards": (games.Reverse,)},
    ),
}
LABELS = {CODE: "code", "pixels": "pixels", "state": "state"}


def run_world(name: str, arguments: argparse.Namespace) -> None:
    """Train the code of a world and the agents of all rewards, seed by seed."""
    world, out = WORLDS[name], arguments.out / name
    code = train_code(name, out, arguments.file)
    for last in range(1, arguments.seeds + 1):
        for reward, wrappers in world.rewards.items():
            seeds = tuple(range(last))
            baselines = (str(code), *world.config.baselines)
            config = replace(world.config, baselines=baselines, seeds=seeds)
            folder = out / reward.replace(" ", "_")
            part = Part(folder.name, config, "{}")
            run_part(
                f"{name}: {reward}",
                part,
                folder,
                arguments.file,
                arguments.workers,
                wrappers=wrappers,
            )


def train_code(name: str, out: Path, file: Path) -> Path:
    """Train the code of a world; its seconds are added to the file."""
    config, code = WORLDS[name].config, out / "code"
    if code.exists():
        return code
    start = time.monotonic()
    dataset = collect_frames(
        config.env_id,
        out / "frames",
        n_frames=config.frames,
        spec=config.spec,
        frame_skip=config.recipe.frame_skip,
        engine=config.engine,
    )
    train_vae(dataset, code, config.vae, replace(config.train, objective=Beta()))
    seconds = time.monotonic() - start
    runs = read_runs(file)
    if not any(run["task"] == name for run in runs):
        names = {"task": name, "system": "training the code", "seed": 0}
        write_runs(file, [*runs, {**names, **origin(), "result": {"seconds": seconds}}])
    return code


def returns_of(runs: Sequence[Run], task: str, system: str) -> list[float]:
    """Return of each seed."""
    return [run["result"]["return"] for run in _own(runs, task, system)]


def minutes_of(runs: Sequence[Run], name: str, system: str) -> float | None:
    """Minutes of one seed of all rewards, the code included; None if a reward was not run."""
    minutes = 0.0
    for reward in WORLDS[name].rewards:
        own = _own(runs, f"{name}: {reward}", system)
        if not own:
            return None
        minutes += fmean(sum(run["result"]["seconds"].values()) for run in own) / 60
    if system == CODE:
        minutes += code_seconds(runs, name) / 60
    return minutes


def code_seconds(runs: Sequence[Run], name: str) -> float:
    """Seconds of the frames and of the code of a world."""
    own = _own(runs, name, "training the code")
    return float(sum(run["result"]["seconds"] for run in own))


def _own(runs: Sequence[Run], task: str, system: str) -> list[Run]:
    return [run for run in runs if (run["task"], run["system"]) == (task, system)]


def figures_of(runs: Sequence[Run]) -> dict[str, float]:
    """All figures by flat name."""
    figures: dict[str, float] = {}
    for name, world in WORLDS.items():
        for system, label in LABELS.items():
            for reward in world.rewards:
                if values := returns_of(runs, f"{name}: {reward}", system):
                    prefix = f"{name}_{reward.replace(' ', '_')}_{label}"
                    ends = zip(("return", "low", "high"), t_interval(values), strict=True)
                    figures |= {f"{prefix}_{end}": value for end, value in ends}
            minutes = minutes_of(runs, name, system)
            if minutes is not None:
                figures[f"{name}_{label}_minutes"] = minutes
    return figures


def page(runs: Sequence[Run]) -> Iterator[str]:
    """Lines of docs/reuse_study.md."""
    yield "# One code, several rewards\n"
    yield (
        "Written by `python benchmarks/study_reuse.py --write` from docs/reuse_study.json. One "
        "beta-VAE is trained on frames of a world, without any reward. Agents with the same recipe "
        "then learn each reward on this code, on pixels and on the simulator's state. A cell is "
        "the mean return over seeds with Student's t 95 % interval and the number of seeds. "
        "Minutes are those of one seed of all rewards in a process with one thread; for the code "
        "they include its frames and its training on all cores, which are needed once.\n"
    )
    yield "\n\n".join(origins(runs))
    for name, world in WORLDS.items():
        yield f"\n## {name}\n"
        yield f"| reward | {' | '.join(LABELS.values())} |"
        yield f"|---|{'---|' * len(LABELS)}"
        for reward in world.rewards:
            cells = [cell(returns_of(runs, f"{name}: {reward}", system)) for system in LABELS]
            yield f"| {reward} | {' | '.join(cells)} |"
        all_minutes = [minutes_of(runs, name, system) for system in LABELS]
        cells = ["not run" if minutes is None else f"{minutes:.1f}" for minutes in all_minutes]
        yield f"| minutes of all rewards | {' | '.join(cells)} |"
        yield f"\nOf these, frames and code: {code_seconds(runs, name) / 60:.1f} minutes."


def main() -> None:
    configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", nargs="+", choices=WORLDS, default=[], help="worlds to run")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    add_arguments(parser, "runs/reuse", FILE)
    arguments = parser.parse_args()
    for name in arguments.world:
        run_world(name, arguments)
    runs = read_runs(arguments.file)
    if arguments.write:
        text = "\n".join(page(runs)) + "\n"
        files.write_whole(arguments.file.with_suffix(".md"), text.encode())
    report(figures_of(runs), runs, arguments.json)


if __name__ == "__main__":
    main()
