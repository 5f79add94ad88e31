"""Results of benchmark_agents.py: from the stages of its runs to docs/results.json and RESULTS.md.

docs/results.json holds all numbers and remarks of RESULTS.md. New runs of a
system replace its numbers. Remarks ("notes") are written by hand.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_vae.analysis.comparison.runner import plain_json
from rl_vae.system import files, strict_json
from rl_vae.system.estimate import t_interval
from rl_vae.system.provenance import machine, package_versions

PARTS = ("collect", "vae", "agent")
COLOURS = {"ours": "#0072b2", "pixels": "#d55e00", "zoo": "#8c510a"}
HEAD = """# Results

Written by `python benchmarks/benchmark_agents.py --write RESULTS.md` from docs/results.json.

A score is the mean return of complete episodes of the deterministic agent, on environment seeds \
that no training used (`rl_vae.envs.seeds.evaluation_seeds`, set 0). Brackets hold Student's t \
95 % interval of the mean over training seeds. Minutes are wall-clock time from nothing: \
collection, the VAE, the agent and all refreshes, without tests and without the start of Python. \
If other programs used the cores, the table says how many; CPU minutes are the better number then. \
Frames are environment steps, including those of the collection.
"""


@dataclass(frozen=True)
class RunRecord:
    """One seed of one system on one task."""

    seconds: Mapping[str, float]
    """Seconds of each of PARTS."""
    frames: float
    cpu_seconds: float
    other_cores: float
    """Mean number of cores that other processes used."""
    curve: Sequence[tuple[float, float, float]]
    """Frames, seconds and training return, counted from nothing."""
    returns: Sequence[float]
    """Returns of the test's episodes; empty if there was no test."""
    interrupted: bool
    """Whether a stage was interrupted: then the seconds along the curve are not exact."""
    to_threshold: float | None
    """Seconds until the curve reached the threshold."""
    commit: str

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def score(self) -> float | None:
        """Mean return of the test."""
        return statistics.fmean(self.returns) if self.returns else None


def read_run(folder: Path, threshold: float) -> RunRecord | None:
    """Read the finished stages of a run; None before its first agent is trained."""
    if not (folder / "agent.json").is_file():
        return None
    stages = list(_stages(folder))
    seconds, frames = dict.fromkeys(PARTS, 0.0), 0.0
    curve: list[tuple[float, float, float]] = []
    for part, stage in stages:
        start, points = sum(seconds.values()), stage.get("curve", [])
        # What a stage needs before its first and after its last step counts before its curve.
        start += max(0.0, stage["seconds"] - points[-1][1]) if points else 0.0
        curve += [(frames + f, start + s, value) for f, s, value in points]
        seconds[part] += stage["seconds"]
        frames += stage.get("frames", 0)
    busy = sum(stage["other_cores"] * stage["seconds"] for _, stage in stages)
    test = folder / "test.json"
    returns = strict_json.read_object(test)["returns"] if test.is_file() else []
    return RunRecord(
        seconds=seconds,
        frames=frames,
        cpu_seconds=sum(stage["cpu_seconds"] for _, stage in stages),
        other_cores=busy / max(sum(seconds.values()), 1e-9),
        curve=curve,
        returns=returns,
        interrupted=any(stage["starts"] > 1 or stage["paused"] for _, stage in stages),
        to_threshold=next((s for _, s, value in curve if value >= threshold), None),
        commit=strict_json.read_object(folder / "origin.json")["commit"],
    )


def _stages(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Finished stages in their order, each with the part of the cost that it belongs to."""
    collected = [("collect", "../data")] if (folder / "vae.json").is_file() else []
    names = [*collected, ("vae", "vae"), ("agent", "agent"), ("agent", "check")]
    for number in range(1, 10):
        names += [("collect", f"data-{number}"), ("vae", f"vae-{number}")]
        names += [("agent", f"check-{number}"), ("agent", f"agent-{number}")]
        names += [("agent", f"check-{number}-agent")]
    for part, name in names:
        path = folder / f"{name}.json"
        if path.is_file():
            yield part, strict_json.read_object(path)


def write_results(path: Path, tasks: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Add the finished runs to docs/results.json, draw their curves, and write RESULTS.md.

    Args:
        path: RESULTS.md; docs/ is beside it.
        tasks: env_id, recipe, threshold and test_episodes of each task.
        out: Folder of all runs.
    """
    docs = path.parent / "docs"
    docs.mkdir(exist_ok=True)
    target = docs / "results.json"
    results = strict_json.read_object(target) if target.is_file() else {"commits": [], "tasks": {}}
    for name, task in tasks.items():
        runs = read_runs(name, task, out)
        if runs:
            picture = f"learning-{name.replace('_', '-')}.png"
            draw_curves(docs / picture, runs, task["threshold"])
            record = results["tasks"].setdefault(name, {"notes": [], "systems": {}})
            record |= {**task, "picture": picture}
            record["systems"] |= {system: _summarise(own) for system, own in runs.items()}
            uniform = out / name / "uniform.json"
            if uniform.is_file():
                returns = strict_json.read_object(uniform)["returns"]
                record["uniform"] = {"interval": t_interval(returns), "episodes": len(returns)}
            commits = {run.commit for own in runs.values() for run in own}
            results["commits"] = sorted(commits.union(results["commits"]))
            results |= {"machine": machine(), "versions": package_versions()}
    figures = {**results.get("figures", {}), **figures_of(tasks, out)}
    results = plain_json({**results, "figures": figures})
    strict_json.write_json(target, results)
    order = [name for name in tasks if name in results["tasks"]]
    files.write_whole(path, render(results, order).encode())


def figures_of(tasks: Mapping[str, Mapping[str, Any]], out: Path) -> dict[str, float]:
    """All figures of the finished runs by flat name."""
    figures: dict[str, float] = {}
    for name, task in tasks.items():
        seconds = {}
        for system, runs in read_runs(name, task, out).items():
            prefix, scores = f"{name}_{system}", [r.score for r in runs if r.score is not None]
            if scores:
                ends = zip(("return", "low", "high"), t_interval(scores), strict=True)
                figures |= {f"{prefix}_{end}": value for end, value in ends}
            figures[f"{prefix}_minutes"] = statistics.fmean(r.total_seconds for r in runs) / 60
            reached = [r.to_threshold for r in runs if r.to_threshold is not None]
            if len(reached) == len(runs):
                seconds[system] = statistics.fmean(reached)
                figures[f"{prefix}_seconds_to_threshold"] = seconds[system]
                if "ours" in seconds and system != "ours":
                    figures[f"{name}_ratio_{system}"] = seconds[system] / seconds["ours"]
    return figures


def read_runs(name: str, task: Mapping[str, Any], out: Path) -> dict[str, list[RunRecord]]:
    """Runs of a task by system, in the order of their seeds."""
    runs = {}
    for system in COLOURS:
        folders = sorted(out.glob(f"{name}/seed-*/{system}"))
        own = [run for path in folders if (run := read_run(path, task["threshold"])) is not None]
        if own:
            runs[system] = own
    return runs


def _summarise(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """One row of a table."""
    return {
        "scores": [run.score for run in runs if run.score is not None],
        "returns": [[round(one, 2) for one in run.returns] for run in runs if run.returns],
        "frames": statistics.fmean(run.frames for run in runs),
        "minutes": {p: statistics.fmean(run.seconds[p] for run in runs) / 60 for p in PARTS},
        "cpu_minutes": statistics.fmean(run.cpu_seconds for run in runs) / 60,
        "other_cores": statistics.fmean(run.other_cores for run in runs),
        "runs": [
            {
                "seconds": run.total_seconds if run.to_threshold is None else run.to_threshold,
                "reached": run.to_threshold is not None,
                "interrupted": run.interrupted,
            }
            for run in runs
        ],
    }


def render(results: Mapping[str, Any], order: Sequence[str]) -> str:
    """RESULTS.md from the content of docs/results.json, with the tasks in some order."""
    versions = results["versions"]
    names = ("python", "torch", "gymnasium", "stable-baselines3")
    packages = ", ".join(f"{name} {versions[name]}" for name in names)
    cores, processor = results["machine"]["cores"], results["machine"]["processor"]
    commits = ", ".join(results["commits"])
    lines = [HEAD, f"Machine: {cores} cores of {processor}, no GPU. Commits {commits}; {packages}."]
    for name in order:
        lines += ["", *_section(name, results["tasks"][name], results["figures"])]
    return "\n".join(lines) + "\n"


def _section(name: str, task: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    systems, threshold = task["systems"], task["threshold"]
    seeds = max(len(system["runs"]) for system in systems.values())
    command = f"--task {name} --systems {' '.join(systems)} --seeds {seeds}"
    yield f"## {task['env_id']}: {name}\n"
    yield f"![Return against frames and minutes](docs/{task['picture']})\n"
    yield f"    python benchmarks/benchmark_agents.py {command}\n"
    uniform = ""
    if "uniform" in task:
        interval, episodes = _interval(*task["uniform"]["interval"]), task["uniform"]["episodes"]
        uniform = f" Uniformly drawn actions score {interval} in {episodes} episodes."
    yield (
        f"A test has {task['test_episodes']} episodes in Gymnasium's environment. The recipe is "
        f"`{task['recipe']}`.{uniform}\n"
    )
    yield (
        "| system | score, over seeds | each seed | frames | minutes | collection, VAE, agent | "
        f"CPU minutes | cores of other programs | seconds to {threshold:g} |"
    )
    yield "|---" * 9 + "|"
    for system, row in systems.items():
        yield _row(system, row, figures, f"{name}_{system}")
    for system in systems:
        if system != "ours" and "ours" in systems:
            yield from _ratios(system, systems[system]["runs"], systems["ours"]["runs"], threshold)
    for system, row in systems.items():
        if task["env_id"] == "CarRacing-v3" and row.get("returns"):
            yield from _laps(system, row["returns"])
    for note in task["notes"]:
        yield f"\n{note}"


def _row(system: str, row: Mapping[str, Any], figures: Mapping[str, Any], name: str) -> str:
    score = "not tested"
    if row["scores"]:
        score = _interval(*(figures[f"{name}_{end}"] for end in ("return", "low", "high")))
    entries = [
        system,
        score,
        ", ".join(f"{one:.4g}" for one in row["scores"]),
        f"{row['frames']:,.0f}",
        f"{figures[f'{name}_minutes']:.1f}",
        ", ".join(f"{row['minutes'][part]:.1f}" for part in PARTS),
        f"{row['cpu_minutes']:.1f}",
        f"{row['other_cores']:.1f}",
        ", ".join(_seconds(run) for run in row["runs"]),
    ]
    return f"| {' | '.join(entries)} |"


def _seconds(run: Mapping[str, Any]) -> str:
    text = f"{run['seconds']:.0f}" if run["reached"] else f"not in {run['seconds']:.0f}"
    return f"{text} (interrupted)" if run["interrupted"] else text


def _ratios(
    system: str, runs: Sequence[Any], ours: Sequence[Any], threshold: float
) -> Iterator[str]:
    """Seconds to the threshold of another system over those of ours, seed by seed."""
    ratios = [
        f"{'' if run['reached'] else 'more than '}{run['seconds'] / own['seconds']:.1f}"
        for run, own in zip(runs, ours, strict=False)
        if own["reached"]
    ]
    if ratios:
        yield (
            f"\nSeconds to a training return of {threshold:g}, {system} divided by ours, for each "
            f"seed: {', '.join(ratios)}. A training on pixels ends after 5 times the seconds of "
            "ours."
        )


def _laps(system: str, returns: Sequence[Sequence[float]]) -> Iterator[str]:
    """What the returns say of each seed's tracks.

    A frame costs 0.1 and all tiles of a track give 1,000 together. An episode ends with the last
    tile, so that a finished lap returns more than 900; others take 1,000 frames, so that their
    tiles give the return and 100. (One that leaves the field is counted with fewer tiles.)
    """
    yield f"\nTracks of {system}: a lap is finished if every tile was touched.\n"
    yield "| seed | tracks | laps finished | tiles touched | return below 750 | median return |"
    yield "|---" * 6 + "|"
    for seed, own in enumerate(returns):
        tiles = statistics.fmean(1.0 if one > 900 else max(0.0, one + 100) / 1000 for one in own)
        finished, below = sum(one > 900 for one in own), sum(one < 750 for one in own)
        median = statistics.median(own)
        yield f"| {seed} | {len(own)} | {finished} | {tiles:.1%} | {below} | {median:.0f} |"


def _interval(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.4g}" if low is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"


def draw_curves(path: Path, runs: Mapping[str, Sequence[RunRecord]], threshold: float) -> None:
    """Draw the training returns of all runs of a task, against frames and against minutes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    both: Any = figure.subplots(1, 2, sharey=True)
    for axes, column, unit in zip(both, (0, 1), (1.0, 60.0), strict=True):
        for system, own in runs.items():
            for place, run in enumerate(own):
                points = [(point[column] / unit, point[2]) for point in run.curve]
                label = None if place else system
                axes.plot(*zip(*points, strict=True), color=COLOURS[system], label=label, lw=1.3)
        axes.set_xlabel("minutes" if column else "environment frames")
        axes.axhline(threshold, color="0.35", linestyle=":", linewidth=1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    both[0].set_ylabel("mean return, last 100\ntraining episodes")
    both[0].legend(frameon=False)
    with files.whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
