"""What studies of several arms share: options, the loop over arms and seeds, table and figures."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from rl_vae.system.estimate import t_interval
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures

DOCS = Path(__file__).resolve().parents[1] / "docs"
Arm = Callable[[int], Mapping[str, float]]
"""Function from a training seed to measures by name; the first measure has an interval."""


class Results(NamedTuple):
    """Measures of all arms."""

    table: list[str]
    """Lines of a Markdown table."""
    figures: dict[str, float]


def parse_options(doc: str | None, name: str, *, steps: int, seeds: int) -> argparse.Namespace:
    """Configure the process, and read the options of a study.

    Args:
        doc: Docstring of the script.
        name: Name of the study, for its page and the folder of its runs.
        steps: Default number of decisions of a training.
        seeds: Default number of seeds.
    """
    configure_process()
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs") / name, metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=steps, help="decisions of each training")
    parser.add_argument("--seeds", type=int, default=seeds, help="number of seeds")
    parser.add_argument("--write", action="store_true", help=f"write docs/{name}_study.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.set_defaults(page=DOCS / f"{name}_study.md")
    return parser.parse_args()


def run_arms(arms: Mapping[str, Arm], seeds: int) -> Results:
    """Run each arm with each seed, and describe what they measured."""
    rows: list[str] = []
    figures: dict[str, float] = {}
    names: list[str] = []
    for arm, run in arms.items():
        runs = []
        for seed in range(seeds):
            runs.append(run(seed))
            print(f"{arm}, seed {seed}: {dict(runs[-1])}", flush=True)
        names = list(runs[0])
        values = {name: [measured[name] for measured in runs] for name in names}
        first, *others = names
        mean, low, high = t_interval(values[first])
        each = ", ".join(f"{value:.2f}" for value in values[first])
        means = {name: sum(values[name]) / seeds for name in others}
        cells = [arm, f"{mean:.2f}", f"{low:.2f} to {high:.2f}", each]
        rows.append(_row([*cells, *(f"{value:.3g}" for value in means.values())]))
        key = _slug(arm)
        figures |= {f"{key}_{_slug(first)}": mean, f"{key}_low": low, f"{key}_high": high}
        figures |= {f"{key}_{_slug(name)}": value for name, value in means.items()}
    head = ["arm", names[0], "interval", "each seed", *names[1:]]
    return Results([_row(head), "|---" * len(head) + "|", *rows], figures)


def finish(
    options: argparse.Namespace, script: str, title: str, parts: Sequence[str], results: Results
) -> None:
    """Print the page of a study, and write page and figures if the options ask for it.

    Args:
        options: Options of `parse_options`.
        script: Path of the script.
        title: Title of the page.
        parts: Paragraphs and tables of the page.
        results: All measures.
    """
    here, stem = machine(), Path(script).stem
    where = (
        f"One torch thread on {here['processor']}, {here['cores']} cores, beside other work; "
        f"commit {git_commit(script)}. Written by `python benchmarks/{stem}.py --write`."
    )
    text = "\n\n".join([f"# {title}", *parts, where]) + "\n"
    print(text)
    if options.write:
        write_whole(options.page, text.encode())
    if options.json:
        write_figures(options.json, results.figures, range(options.seeds))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _slug(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")
