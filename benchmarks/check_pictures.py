"""Check: examples/pictures_with_factors.py on a folder of 5,000 pictures.

The pictures are sprites of 64 x 64 (white on black, five factors), drawn uniformly from the factors
with seed 0, as PNG files with a table. The example runs unchanged in FOLDER, in a process of its
own: three betas, five seeds, MIG, DCI and SAP with their intervals over the seeds, and a report.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from rl_vae.sprites import Sprites
from rl_vae.sprites.shapes import FACTOR_NAMES
from rl_vae.system.provenance import git_commit, machine

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "pictures_with_factors.py"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    parser.add_argument("--pictures", type=int, default=5_000)
    arguments = parser.parse_args()
    (arguments.folder / "pictures").mkdir(parents=True)
    draw(arguments.folder / "pictures", arguments.pictures)
    start, used = time.perf_counter(), sum(os.times()[2:4])
    subprocess.run([sys.executable, EXAMPLE], cwd=arguments.folder, check=True)
    seconds, processor = time.perf_counter() - start, sum(os.times()[2:4]) - used
    print(f"{arguments.pictures:,} pictures: {seconds:.0f} s, {processor:.0f} s of processor time")
    print(f"{machine()}, commit {git_commit(__file__)}")


def draw(folder: Path, n: int) -> None:
    """Write pictures of sprites, and metadata.csv with their factors."""
    rng, sprites = np.random.default_rng(0), Sprites()
    factors = sprites.sample_factors(n, rng)
    images = sprites.draw(factors, rng)
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", *FACTOR_NAMES])
        for number, (image, row) in enumerate(zip(images, factors, strict=True)):
            name = f"{number:05d}.png"
            Image.fromarray(image.squeeze()).save(folder / name)
            table.writerow([name, *row.tolist()])


if __name__ == "__main__":
    main()
