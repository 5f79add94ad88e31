"""Study of the reward head: return of agents whose codes were trained with it and without it.

The environment is rl_vae/Sprites-v0, with the settings of study_comparison.py. The codes are two
betas, an autoencoder and a linear autoencoder, each without a head and with a reward head of
`--weight` nats; beside them are an untrained network, PCA, pixels and the simulator's state. The
seeds, the frames, the recipe and the evaluation episodes are the same for all. Every run has a
process with one thread. An interrupted study continues with the same command.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from study_comparison import STUDIES  # type: ignore[import-not-found]

from rl_vae import ComparisonConfig, Heads, VAEConfig, compare
from rl_vae.analysis.comparison.tables import tables
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures


def parts_of(weight: float, distractors: int) -> dict[str, ComparisonConfig]:
    """The comparisons of the study, by name.

    Args:
        weight: Weight of the reward head in nats.
        distractors: Number of discs that drift behind the sprite.
    """
    plain = replace(STUDIES["sprites"], betas=(1.0, 4.0), env_kwargs={"distractors": distractors})
    headed = replace(plain.train, heads=Heads(reward=weight))
    linear = replace(plain, betas=(), baselines=("autoencoder",), vae=_linear(plain.vae))
    return {
        "no head": plain,
        "reward head": replace(plain, baselines=("autoencoder",), train=headed),
        "linear, no head": linear,
        "linear, reward head": replace(linear, train=headed),
    }


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
    seeds = tuple(range(arguments.seeds))
    for name, part in parts_of(arguments.weight, arguments.distractors).items():
        key = name.replace(", ", "_").replace(" ", "_")
        config = replace(part, seeds=seeds)
        summary = compare(config, arguments.out / key, workers=arguments.workers).summary
        text.append(f"## {name}\n\n{tables(summary)}\n")
        print(text[-1], flush=True)
        figures |= {f"{key}_{figure}": value for figure, value in summary.figures().items()}
    if arguments.table:
        write_whole(arguments.table, "\n".join(text).encode())
    if arguments.json:
        write_figures(arguments.json, figures, seeds)


if __name__ == "__main__":
    main()
