"""Study of the reward head: return of agents whose codes were trained with it and without it.

The environment is rl_vae/Sprites-v0, with the settings of study_comparison.py. The codes are
`--betas`, an autoencoder and, unless `--short`, a linear autoencoder, each without a head and with
a reward head of `--weight` nats; beside them are, unless `--short`, an untrained network, PCA,
pixels and the simulator's state. The seeds, the frames, the recipe and the evaluation episodes are
the same for all. Every run has a process with one thread. The seeds are run one after the other,
each with and without the head. An interrupted study continues with the same command; with
--finished nothing is run, and the tables are those of the finished runs.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from study_comparison import STUDIES  # type: ignore[import-not-found]

from rl_vae import ComparisonConfig, Heads, VAEConfig, compare, t_interval
from rl_vae.analysis.comparison.compare import summarise
from rl_vae.analysis.comparison.config import run_path
from rl_vae.analysis.comparison.tables import tables
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures


def parts_of(arguments: argparse.Namespace) -> dict[str, ComparisonConfig]:
    """The comparisons of the study, by name."""
    kwargs = {"distractors": arguments.distractors}
    plain = replace(STUDIES["sprites"], betas=tuple(arguments.betas), env_kwargs=kwargs)
    if arguments.short:
        plain = replace(plain, baselines=("autoencoder",))
    headed = replace(plain.train, heads=Heads(reward=arguments.weight))
    parts = {
        "no head": plain,
        "reward head": replace(plain, baselines=("autoencoder",), train=headed),
    }
    if not arguments.short:
        linear = replace(plain, betas=(), baselines=("autoencoder",), vae=_linear(plain.vae))
        parts["linear, no head"] = linear
        parts["linear, reward head"] = replace(linear, train=headed)
    return parts


def _linear(vae: VAEConfig) -> VAEConfig:
    """The same number of latents and likelihood with a network of one matrix."""
    return replace(vae, network="linear")


def main() -> None:
    configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/heads"), metavar="FOLDER")
    parser.add_argument("--weight", type=float, default=30.0, help="weight of the reward head")
    parser.add_argument("--distractors", type=int, default=0, help="discs behind the sprite")
    parser.add_argument("--betas", type=float, nargs="+", default=[1.0, 4.0])
    parser.add_argument("--short", action="store_true", help="only betas and the autoencoder")
    parser.add_argument("--finished", action="store_true", help="run nothing")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument(
        "--workers", type=int, help="number of processes (default: number of cores)"
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="write Markdown tables there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    here = machine()
    text = [
        "Written by `python benchmarks/study_heads.py --table FILE`. Seconds are those of one run "
        f"in one of {arguments.workers or here['cores']} processes with one thread each, side by "
        f"side on {here['cores']} cores of {here['processor']}; commit {git_commit(__file__)}.\n"
    ]
    parts = parts_of(arguments)
    folders = {name: arguments.out / name.replace(", ", "_").replace(" ", "_") for name in parts}
    if not arguments.finished:
        for n in range(1, arguments.seeds + 1):
            for name, part in parts.items():
                seeded = replace(part, seeds=tuple(range(n)))
                compare(seeded, folders[name], workers=arguments.workers)
    for name, folder in folders.items():
        if not (folder / "config.json").is_file():
            text.append(f"## {name}\n\nNot run.\n")
            continue
        summary = summarise(folder)
        text.append(f"## {name}\n\n{tables(summary)}\n")
        figures |= {f"{folder.name}_{key}": value for key, value in summary.figures().items()}
    text += differences(parts, folders, arguments.seeds)
    print("\n".join(text))
    if arguments.table:
        write_whole(arguments.table, "\n".join(text).encode())
    if arguments.json:
        write_figures(arguments.json, figures, range(arguments.seeds))


def differences(
    parts: Mapping[str, ComparisonConfig], folders: Mapping[str, Path], n_seeds: int
) -> list[str]:
    """Table of the return with the head minus that without, over the seeds that have both."""
    lines = [
        "## Return with the head minus return without, same seeds",
        "",
        "| code | seeds | difference of each seed | mean (95 % interval) |",
        "|---|---|---|---|",
    ]
    for one, other in (("no head", "reward head"), ("linear, no head", "linear, reward head")):
        for system in parts[other].systems if other in parts else ():
            values = []
            for seed in range(n_seeds):
                paths = [run_path(folders[name], system, seed) for name in (one, other)]
                if all(path.is_file() for path in paths):
                    before, after = (json.loads(path.read_text())["return"] for path in paths)
                    values.append(after - before)
            label = system if one == "no head" else f"{system}, linear"
            mean = "not run"
            if values:
                mean = f"{values[0]:.2f} (one seed: no interval)"
            if len(values) > 1:
                mean = "{:.2f} ({:.2f} to {:.2f})".format(*t_interval(values))
            each = ", ".join(f"{value:+.2f}" for value in values)
            lines.append(f"| {label} | {len(values)} of {n_seeds} | {each} | {mean} |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
