"""Check: ceilings and floors of every disentanglement metric, on artificial codes of the sprites.

perfect   five latents, each of them one factor with mean 0 and variance 1
spare     perfect, and five inactive latents (noise with standard deviation 0.02)
leak      perfect, and five inactive latents that follow the factors, a thousandth as large
rotated   perfect, multiplied by a random rotation
noise     ten latents of noise

The codes are computed from the factors; no picture is drawn.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ortho_group
from tqdm import tqdm

from rl_vae import metrics
from rl_vae.sprites import FACTOR_SIZES, Sprites
from rl_vae.system.provenance import write_figures

CODES = ("perfect", "spare", "leak", "rotated", "noise")
SIZES = np.array(FACTOR_SIZES)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--rows", type=int, default=10_000, help="to train on; half as many to test"
    )
    parser.add_argument(
        "--trees", type=int, default=2_000, help="rows for DCI, whose trees are slow"
    )
    parser.add_argument("--votes", type=int, default=10_000, help="of FactorVAE and BetaVAE")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    for name in tqdm(CODES, disable=None):
        for metric, value in scores(name, arguments).items():
            figures[f"{name}_{metric}"] = value
    names = [key.removeprefix("perfect_") for key in figures if key.startswith("perfect_")]
    print(f"{'':16}" + "".join(f"{name:>10}" for name in CODES))
    for metric in names:
        row = "".join(f"{figures[f'{name}_{metric}']:10.3f}" for name in CODES)
        print(f"{metric:16}{row}")
    if arguments.json:
        write_figures(arguments.json, figures, [arguments.seed])


def scores(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    seed, half = arguments.seed, arguments.rows // 2
    rng = np.random.default_rng(seed)
    factors = Sprites().sample_factors(arguments.rows, rng)
    tests = Sprites().sample_factors(half, rng)
    encode = code(name, seed)
    z, z_test = encode(factors, rng), encode(tests, rng)
    settings: dict[str, Any] = {"resamples": 0, "seed": seed}
    gap = metrics.mig(z, factors, **settings)
    attribute = metrics.sap(z, factors, z_test, tests, **settings)
    n = arguments.trees
    trees = metrics.dci(z[:n], factors[:n], z_test[: n // 2], tests[: n // 2], **settings)
    votes = {"train_votes": arguments.votes, "test_votes": arguments.votes // 2}
    points = {"train_points": arguments.votes, "test_points": arguments.votes // 2}
    world = World(encode)
    return {
        "MIG": gap.score.value,
        "MIG pruned": gap.pruned,
        "modularity": metrics.modularity(z, factors, **settings).score.value,
        "IRS": metrics.irs(z, factors, **settings).score.value,
        "SAP": attribute.score.value,
        "SAP R2": attribute.r2.value,
        "DCI-D": trees.disentanglement.value,
        "DCI-C": trees.completeness.value,
        "DCI-I": trees.informativeness.value,
        "explicitness": metrics.explicitness(z, factors, z_test, tests, **settings).score.value,
        "FactorVAE": metrics.factor_vae(world, **votes, **settings).score.value,
        "BetaVAE": metrics.beta_vae(world, **points, **settings).score.value,
        "total corr.": metrics.total_correlation(z, **settings).score.value,
    }


Code = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.float64]]


def code(name: str, seed: int) -> Code:
    rotation = ortho_group.rvs(5, random_state=seed)

    def encode(factors: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        perfect = (factors - (SIZES - 1) / 2) / np.sqrt((SIZES**2 - 1) / 12)
        if name == "rotated":
            return np.asarray(perfect @ rotation)
        if name == "noise":
            return rng.normal(size=(len(factors), 10))
        spare = {"spare": 0.02 * rng.normal(size=perfect.shape), "leak": 0.001 * perfect}
        return np.concatenate([perfect, spare[name]], axis=1) if name in spare else perfect

    return encode


class World:
    """A sampler that gives codes."""

    factor_sizes = FACTOR_SIZES

    def __init__(self, encode: Code) -> None:
        self.draw = encode


if __name__ == "__main__":
    main()
