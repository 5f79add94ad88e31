"""Page and figures of study_heads.py, from the file of its runs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kept_runs import Run, cell, origins  # type: ignore[import-not-found]

from rl_vae.analysis.comparison.summary import ComparisonSummary, summarise_runs
from rl_vae.analysis.comparison.tables import tables
from rl_vae.system import files
from rl_vae.system.estimate import t_interval

HEAD = "head "
"""Before the name of a code that was trained with a head."""
INTRODUCTION = """# When a reward head pays

Written by `python benchmarks/study_heads.py --write` from docs/heads_study.json. A reward head of \
30 nats predicts the reward from the code and the action while the code is trained; it does not \
enter the model folder. `linear` is a linear autoencoder, the same network as PCA finds, so that \
`head linear` is PCA with a head. All systems of a world have the same frames, recipe, seeds and \
evaluation episodes.

| world | what it is |
|---|---|
| sprites | rl_vae/Sprites-v0, 16,384 decisions of PPO |
| distractors | the same with three discs that drift behind the sprite, and other colours in each \
episode |
| arrival | the same as sprites with a reward of 1 on arrival, and no other; 65,536 decisions |
| minigrid | MiniGrid-Empty-8x8 with goal and agent at random places, 81,920 decisions of PPO |
| pendulum | Pendulum-v1, 6,000 decisions of SAC, 3,000 updates with 64 of them; the head predicts \
the sum of the next 2 rewards |
| car_racing | CarRacing-v3, 40,960 decisions of PPO; the head predicts the sum of the next 4 \
rewards |
| pong | ALE/Pong-v5, 300,000 decisions of PPO; the head predicts the sum of the next 8 rewards |
"""
ROLE = """Returns with the head minus returns without it, of the same seeds: mean and Student's t \
95 % interval, not corrected for the number of cells. An interval without 0 is in bold. "Not run" \
is a cell without results. In the tables of correlations, an empty row is a score that is equal \
for all codes: the reward probes see the code without the action, and may find nothing.
"""


def pairs_of(systems: Sequence[str]) -> list[str]:
    """Codes that were trained with a head and without it."""
    return [system for system in systems if f"{HEAD}{system}" in systems]


def differences(runs: Sequence[Run], world: str, code: str) -> list[float]:
    """Return with the head minus that without it, for each seed that has both."""
    returns = {
        (run["system"], run["seed"]): run["result"]["return"]
        for run in runs
        if run["task"] == world
    }
    seeds = sorted(seed for system, seed in returns if system == code)
    headed = f"{HEAD}{code}"
    return [
        returns[headed, seed] - returns[code, seed] for seed in seeds if (headed, seed) in returns
    ]


def summary_of(runs: Sequence[Run], world: str, systems: Sequence[str]) -> ComparisonSummary:
    """Summary of all systems of a world."""
    own = [{**run["result"], **_names(run)} for run in runs if run["task"] == world]
    have = {(run["system"], run["seed"]) for run in own}
    seeds = sorted({seed for _, seed in have})
    missing = [f"{name}, seed {n}" for n in seeds for name in systems if (name, n) not in have]
    return summarise_runs(own, systems, missing)


def figures_of(systems: Mapping[str, Sequence[str]], runs: Sequence[Run]) -> dict[str, float]:
    """All figures: WORLD_ and those of the summary, and WORLD_head_minus_none_CODE."""
    figures: dict[str, float] = {}
    for world, names in systems.items():
        if any(run["task"] == world for run in runs):
            summary = summary_of(runs, world, names).figures()
            figures |= {f"{world}_{key.replace(' ', '_')}": v for key, v in summary.items()}
        for code in pairs_of(names):
            if values := differences(runs, world, code):
                name = f"{world}_head_minus_none_{code}"
                ends = zip(("", "_low", "_high"), t_interval(values), strict=True)
                figures |= {f"{name}{end}": value for end, value in ends}
    return figures


def write_page(path: Path, systems: Mapping[str, Sequence[str]], runs: Sequence[Run]) -> None:
    """Write the page."""
    parts = [INTRODUCTION, "\n\n".join(origins(runs)), ROLE, "\n".join(_effects(systems, runs))]
    for world, names in systems.items():
        is_run = any(run["task"] == world for run in runs)
        parts.append(f"## {world}")
        parts.append(tables(summary_of(runs, world, names)) if is_run else "Not run.")
    files.write_whole(path, ("\n\n".join(part.strip("\n") for part in parts) + "\n").encode())


def _names(run: Run) -> dict[str, object]:
    return {"system": run["system"], "seed": run["seed"]}


def _effects(systems: Mapping[str, Sequence[str]], runs: Sequence[Run]) -> Iterator[str]:
    """A row for each world, a column for each code."""
    codes = sorted({code for names in systems.values() for code in pairs_of(names)})
    yield f"| world | {' | '.join(codes)} |"
    yield f"|---|{'---|' * len(codes)}"
    for world in systems:
        cells = [_effect(differences(runs, world, code)) for code in codes]
        yield f"| {world} | {' | '.join(cells)} |"


def _effect(values: Sequence[float]) -> str:
    text: str = cell(values, "+.2f")
    if len(values) < 2:
        return text
    _, low, high = t_interval(values)
    return f"**{text}**" if low > 0 or high < 0 else text
