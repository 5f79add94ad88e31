"""Whether the adapters show an agent what it should see: a matrix, with any model.

Each cell is the largest difference of any number of any observation, terminal ones included, from
what the encoder makes of the true frame; a cell passes up to 1e-6, without any ghost transition.

cells       how many there are
passed      how many pass
max_error   the largest difference
ghosts      first observations that remember an old episode, transitions that never happened
"""

import argparse
import sys
from pathlib import Path

from rl_vae.sb3.adapter_checker import check_all, table
from rl_vae.system.provenance import write_figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder that rl-vae train-vae wrote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    results = check_all(arguments.model)
    found = results.values()
    figures = {
        "cells": float(len(results)),
        "passed": float(sum(result.passed for result in found)),
        "max_error": max(result.error for result in found),
        "ghosts": float(sum(result.ghosts for result in found)),
    }
    print(table(results))
    compared, ends = (
        sum(column) for column in ([r.latents for r in found], [r.finals for r in found])
    )
    print(
        f"{figures['passed']:.0f} of {len(results)} cells pass; {compared:,} observations, ", end=""
    )
    print(f"{ends:,} of them terminal, differ by {figures['max_error']:.1e} at most")
    if arguments.json:
        write_figures(arguments.json, figures, [0])
    sys.exit(figures["passed"] < figures["cells"])


if __name__ == "__main__":
    main()
