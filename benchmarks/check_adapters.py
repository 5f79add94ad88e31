"""Check that every wrapper gives an agent the right numbers, with any model.

A case is a wrapper, a way to begin episodes, a kind of observation, an ending and options. Its
error is the largest difference of any number of any observation, terminal ones included, from what
the encoder makes of the true image. A case passes if its error is at most 1e-6 and nothing leaks
from one episode into the next.

cases       number of cases
passed      number of cases that pass
max_error   largest error
leaks       first observations that hold the previous episode, plus steps that were not taken
"""

import argparse
import sys
from pathlib import Path

from rl_vae.sb3.adapter_checker import check_all, format_table
from rl_vae.system.provenance import write_figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder that rl-vae train-vae wrote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    arguments = parser.parse_args()
    results = check_all(arguments.model)
    figures = {
        "cases": float(len(results)),
        "passed": float(sum(result.passed for result in results.values())),
        "max_error": max(result.max_error for result in results.values()),
        "leaks": float(sum(result.leaks for result in results.values())),
    }
    print(format_table(results))
    n_observations = sum(result.observations for result in results.values())
    n_final = sum(result.final_observations for result in results.values())
    print(f"{figures['passed']:.0f} of {len(results)} cases pass")
    print(f"{n_observations:,} observations, {n_final:,} of them terminal")
    print(f"largest error {figures['max_error']:.1e}")
    if arguments.json:
        write_figures(arguments.json, figures, [0])
    sys.exit(figures["passed"] < figures["cases"])


if __name__ == "__main__":
    main()
