"""Page and pictures of study_minutes.py, from the file of its runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from kept_runs import Run  # type: ignore[import-not-found]

from rl_vae.system import files
from rl_vae.system.estimate import Estimate, t_interval

NAMES = ("car_racing", "pong", "cartpole", "minigrid", "sprites")
OURS = ("ours", "ours_head")
COLOURS = {
    "ours": "#0072b2",
    "ours_head": "#56b4e9",
    "zoo": "#8c510a",
    "envpool_cnn": "#d55e00",
    "sbx": "#009e73",
}
HEAD = """# Return against minutes

Written by `python benchmarks/study_minutes.py --write` from docs/minutes_study.json. A cell is \
the mean over training seeds of the mean return of {episodes} deterministic episodes at that \
budget, on evaluation seeds that no training used, with Student's t 95 % interval in brackets and \
the number of seeds in parentheses; one seed has no interval. A budget is wall-clock time from \
nothing on the same {threads} cores: frames, VAE, agent, refreshes and checks, or the training on \
pixels. Only these episodes and the start of Python do not count. A run trains once, up to its \
longest budget, so that an early cell shows what a long training has by then.

| system | what it is |
|---|---|
| `ours` | the stages of [the results](results.md) with the longest training of the task \
(`car_racing_long`); after its last stage the agent stays as it is |
| `ours_head` | the same, and the VAE is trained with a reward head of 30 nats |
| `zoo` | Stable-Baselines3's PPO with CnnPolicy and rl_zoo3's settings for the task; for Sprites, \
which it does not have, those of Atari |
| `envpool_cnn` | the same PPO with the settings of CleanRL's PPO for Atari: 84 x 84 gray, stack \
4, 8 environments, 128 steps, 4 minibatches, 4 epochs, learning rate 2.5e-4 falling to 0, clip \
0.1, entropy 0.01, gradient 0.5. EnvPool steps CarRacing and Pong (with the sticky actions of \
ALE's v5 and EnvPool's own images); it has no images of the others, which Gymnasium steps in \
processes |
| `sbx` | SBX's PPO in JAX with CnnPolicy, frames and settings of `envpool_cnn` |

On pixels, schedules fall over the longest budget, and nothing but the budget ends a training. A \
run that is interrupted begins again.
"""
LEFT_OUT = """## Not compared

| system | reason |
|---|---|
| DreamerV3 | the last releases of PyPI's dreamerv3 and dreamer are of 2023 and 2024. sheeprl \
0.8.4 has it and fits the torch and Gymnasium of rl_vae; it was not tried |
| r2dreamer, DrQ-v2 | no package on PyPI was found |
| a frozen foundation encoder | `rl_vae.pretrained` needs weights from a hub, and a run downloads \
nothing |
"""


class Cell(NamedTuple):
    """One system at one budget."""

    text: str
    interval: Estimate | None
    """None: not run, or no policy yet."""
    is_run: bool


def cell(runs: Sequence[Run], task: str, system: str, budget: float) -> Cell:
    """What the seeds of a system returned at a budget."""
    points = [
        point
        for run in runs
        if (run["task"], run["system"]) == (task, system)
        for point in run["points"]
        if point["budget"] == budget
    ]
    means = [fmean(point["returns"]) for point in points if point["returns"] is not None]
    if not points:
        return Cell("not run", None, False)
    if len(means) < len(points):
        return Cell(f"no policy yet in {len(points) - len(means)} of {len(points)}", None, True)
    interval = t_interval(means)
    return Cell(f"{_interval(interval)} ({len(means)})", interval, True)


def budgets_of(runs: Sequence[Run]) -> list[float]:
    """All budgets that some run has."""
    return sorted({point["budget"] for run in runs for point in run["points"]})


def write_page(path: Path, runs: Sequence[Run]) -> None:
    """Write the page, and beside it a picture for each task that was run."""
    planned = {"episodes": 20, "threads": 2}
    settings = {name: sorted({run[name] for run in runs}) for name in planned}
    words = {name: " or ".join(map(str, settings[name] or [planned[name]])) for name in planned}
    parts = [HEAD.format(**words), "\n".join(_machines(runs))]
    for task in NAMES:
        own = [run for run in runs if run["task"] == task]
        parts += _section(task, own, budgets_of(runs))
        if own:
            draw_curves(path.with_name(_picture(task)), own)
    parts += [
        "## Where ours is not best\n",
        "\n".join(_losses(runs)),
        LEFT_OUT,
    ]
    files.write_whole(path, ("\n\n".join(part.strip("\n") for part in parts) + "\n").encode())


def _machines(runs: Sequence[Run]) -> Iterator[str]:
    places = {(run["machine"]["processor"], run["machine"]["cores"]) for run in runs}
    commits = ", ".join(sorted({run["commit"] for run in runs}))
    for processor, cores in sorted(places):
        yield f"Machine: {cores} cores of {processor}, no GPU."
    yield f"Commits {commits}." if runs else "Nothing has been run yet, so there are no figures."


def _section(task: str, runs: Sequence[Run], budgets: Sequence[float]) -> Iterator[str]:
    """Table of returns, picture, and table of costs of a task."""
    yield f"## {task}"
    if not runs:
        yield "Not run."
        return
    yield f"![Return against minutes]({_picture(task)})"
    lines = [_row(["system", *(f"{budget:g} minutes" for budget in budgets)])]
    lines.append("|---" * (len(budgets) + 1) + "|")
    for system in COLOURS:
        cells = [cell(runs, task, system, budget).text for budget in budgets]
        lines.append(_row([system, *cells]))
    yield "\n".join(lines)
    names = ["system", "seeds", "engine", "minutes", "CPU minutes", "cores of other programs"]
    lines = [_row([*names, "decisions"]), "|---" * 7 + "|"]
    lines += [_costs(system, runs) for system in COLOURS if _of(runs, system)]
    yield "\n".join(lines)


def _costs(system: str, runs: Sequence[Run]) -> str:
    """Means over seeds, up to the last record of each."""
    own = _of(runs, system)
    last = [run["points"][-1] for run in own]
    minutes, cpu, others, decisions = (
        fmean(point[name] for point in last)
        for name in ("minutes", "cpu_minutes", "other_cores", "decisions")
    )
    engines = ", ".join(sorted({run["engine"] for run in own}))
    numbers = [f"{minutes:.1f}", f"{cpu:.1f}", f"{others:.1f}", f"{decisions:,.0f}"]
    return _row([system, str(len(own)), engines, *numbers])


def _losses(runs: Sequence[Run]) -> Iterator[str]:
    """Cells in which a system on pixels has a higher mean than both of ours."""
    rows = []
    for task in NAMES:
        for budget in budgets_of([run for run in runs if run["task"] == task]):
            cells = {system: cell(runs, task, system, budget) for system in COLOURS}
            ours = [cells[system] for system in OURS if cells[system].is_run]
            best = max((one.interval.value for one in ours if one.interval), default=-float("inf"))
            rows += [
                _row([task, f"{budget:g}", system, one.text, "; ".join(own.text for own in ours)])
                for system, one in cells.items()
                if system not in OURS and ours and one.interval and one.interval.value > best
            ]
    if not rows:
        yield "In no cell. Only cells that were run for ours and for another system are compared."
        return
    yield "A mean is higher than both of ours; intervals may overlap.\n"
    yield _row(["task", "minutes", "system", "return", "ours"])
    yield "|---" * 5 + "|"
    yield from rows


def figures_of(runs: Sequence[Run]) -> dict[str, float]:
    """All figures by flat name."""
    figures: dict[str, float] = {}
    for task in NAMES:
        for system in COLOURS:
            for budget in budgets_of(runs):
                interval = cell(runs, task, system, budget).interval
                if interval is not None:
                    prefix = f"{task}_{system}_{budget:g}"
                    ends = zip(("return", "low", "high"), interval, strict=True)
                    figures |= {f"{prefix}_{end}": value for end, value in ends}
    return figures


def draw_curves(path: Path, runs: Sequence[Run]) -> None:
    """Draw the mean return of each system against minutes, with its interval over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    task = runs[0]["task"]
    for system, colour in COLOURS.items():
        pairs = [(b, cell(runs, task, system, b).interval) for b in budgets_of(runs)]
        points = [(budget, *interval) for budget, interval in pairs if interval is not None]
        if points:
            minutes, means, low, high = zip(*points, strict=True)
            axes.plot(minutes, means, color=colour, label=system, marker="o", markersize=4)
            axes.fill_between(minutes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="minutes from nothing", ylabel="mean return", title=task)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    if axes.has_data():
        axes.legend(frameon=False)
    with files.whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _of(runs: Sequence[Run], system: str) -> list[Run]:
    return [run for run in runs if run["system"] == system]


def _picture(task: str) -> str:
    return f"minutes-{task.replace('_', '-')}.png"


def _interval(one: Estimate) -> str:
    if one.low != one.low:  # NaN: one seed
        return f"{one.value:.4g}"
    return f"{one.value:.4g} [{one.low:.4g}, {one.high:.4g}]"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
