"""Benchmark: bytes per frame of compressed shards, and frames per second that are read from them.

Five sources of 2,048 frames of 64 x 64 x 3, each a dataset of rl_vae: CartPole, CarRacing, Pong and
MiniGrid with the default policy, and a made-up camera: a crop that moves over a photograph of
scikit-learn, with sensor noise. The same frames are read from frames.npy through memory maps, from
frames.npy.zst and from a Blosc2 array in a file, in turn; rates are medians of the rounds. Needs
blosc2, which no extra brings: pip install blosc2.

bytes_KIND_SOURCE            bytes a frame: raw, zstd, blosc2, bitshuffle
compress_SOURCE              frames/s that compress_dataset compresses, with hashing and disk
ACCESS_KIND_SOURCE           frames/s: single, batch (256 random frames), sequence (all frames)
block_ROWS_LEVEL_SOURCE      bytes a frame with other sizes of blocks and levels
expand_ROWS_LEVEL_SOURCE     frames/s of expanding a block for each frame, without the library
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from rl_vae import FrameDataset, FrameSpec, collect_frames, compress_dataset
from rl_vae.data.compressed_rows import BLOCK_BYTES, LEVEL
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures

SIDE, FRAMES, SEED, BATCH = 64, 2_048, 0, 256
NAMES = {
    "CartPole": "CartPole-v1",
    "CarRacing": "CarRacing-v3",
    "Pong": "ALE/Pong-v5",
    "MiniGrid": "MiniGrid-FourRooms-v0",
    "camera": None,
}
NOISE, CROP, FPS = 2.0, 256, 25
CHOICES = ((1, 3), (1, 9), (4, 9), (8, 3), (8, 9), (8, 19), (32, 9))
"""Rows in a block, and level."""
ACCESSES = ("single", "batch", "sequence")
ROWS = BLOCK_BYTES // (SIDE * SIDE * 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--rounds", type=int, default=7, help="of each measurement (default 7)")
    parser.add_argument("--quick", action="store_true", help="few frames: figures of no worth")
    arguments = parser.parse_args()
    configure_process()
    n, rounds = (FRAMES // 8, 1) if arguments.quick else (FRAMES, arguments.rounds)
    figures: dict[str, float] = {}
    for name in NAMES:
        with TemporaryDirectory() as folder:
            figures |= measure(name, Path(folder), n, rounds)
        print(f"{name}: {figures[f'bytes_zstd_{name}']:,.0f} bytes a frame", flush=True)
    page = "\n".join(lines_of(figures, n, rounds)) + "\n"
    print(page)
    if arguments.write:
        arguments.write.write_text(page)
    if arguments.json:
        write_figures(arguments.json, figures, [SEED])


def measure(name: str, folder: Path, n: int, rounds: int) -> dict[str, float]:
    """All figures of one source."""
    import blosc2

    raw = make_source(name, folder / "raw", n)
    frames = raw.frames(np.arange(n))
    figures: dict[str, float] = {f"bytes_raw_{name}": bytes_of(raw.path, "frames.npy") / n}
    # The compressed dataset, and how long that takes
    seconds = []
    for _ in range(rounds):
        shutil.rmtree(folder / "zstd", ignore_errors=True)
        shutil.copytree(raw.path, folder / "zstd")
        start = time.perf_counter()
        done = compress_dataset(folder / "zstd", progress=False)
        seconds.append(time.perf_counter() - start)
    figures[f"compress_{name}"] = n / statistics.median(seconds)
    figures[f"bytes_zstd_{name}"] = done.bytes_after / n
    packed = FrameDataset.open(folder / "zstd")
    assert packed.digest == raw.digest
    # Blosc2, with the same rows in a chunk and in a block
    arrays = {}
    for kind, filter in (
        ("blosc2", blosc2.Filter.NOFILTER),
        ("bitshuffle", blosc2.Filter.BITSHUFFLE),
    ):
        path = folder / f"{kind}.b2nd"
        chunk = (ROWS, *frames.shape[1:])
        settings = {"codec": blosc2.Codec.ZSTD, "clevel": 5, "filters": [filter], "nthreads": 1}
        blosc2.asarray(frames, chunks=chunk, blocks=chunk, cparams=settings, urlpath=str(path))
        figures[f"bytes_{kind}_{name}"] = path.stat().st_size / n
        arrays[kind] = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
        assert np.array_equal(arrays[kind][:], frames)
    figures |= measure_reads(name, raw, packed, arrays["blosc2"], rounds)
    return figures | measure_choices(name, frames, rounds)


def measure_reads(
    name: str, raw: FrameDataset, packed: FrameDataset, blosc: Any, rounds: int
) -> dict[str, float]:
    """Frames read per second, in turn from each kind of file."""
    n, rng = len(raw), np.random.default_rng(SEED)
    singles = rng.integers(0, n, 200).tolist()
    batches = [rng.permutation(n)[:BATCH] for _ in range(4)]

    def dataset_reads(dataset: FrameDataset) -> dict[str, Callable[[], object]]:
        return {
            "single": lambda: [dataset[row] for row in singles],
            "batch": lambda: [dataset.frames(rows) for rows in batches],
            "sequence": lambda: [
                dataset.frames(np.arange(start, min(n, start + BATCH)))
                for start in range(0, n, BATCH)
            ],
        }

    counts = {"single": len(singles), "batch": sum(map(len, batches)), "sequence": n}
    reads = {"raw": dataset_reads(raw), "zstd": dataset_reads(packed)}
    reads["blosc2"] = {
        "single": lambda: [blosc[row] for row in singles],
        "batch": lambda: [blosc[np.sort(rows)] for rows in batches],
        "sequence": lambda: [blosc[start : start + BATCH] for start in range(0, n, BATCH)],
    }
    rates: dict[str, list[float]] = {}
    for access in ACCESSES:
        for _ in range(rounds):
            for kind in reads:
                rate = counts[access] / seconds_of(reads[kind][access])
                rates.setdefault(f"{access}_{kind}_{name}", []).append(rate)
    return {key: statistics.median(values) for key, values in rates.items()}


def measure_choices(name: str, frames: NDArray[np.uint8], rounds: int) -> dict[str, float]:
    """Bytes a frame, and frames expanded per second, by rows in a block and level."""
    figures: dict[str, float] = {}
    for rows, level in CHOICES:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        blocks = [
            compressor.compress(frames[start : start + rows].data)
            for start in range(0, len(frames), rows)
        ]
        expand = zstandard.ZstdDecompressor().decompress
        numbers = np.random.default_rng(SEED).integers(0, len(blocks), 200)
        chosen = [blocks[number] for number in numbers]
        seconds = [seconds_of(partial(list, map(expand, chosen))) for _ in range(rounds)]
        key = f"{rows}_{level}_{name}"
        figures[f"block_{key}"] = sum(map(len, blocks)) / len(frames)
        figures[f"expand_{key}"] = len(chosen) / statistics.median(seconds)
    return figures


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that a function takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def make_source(name: str, out: Path, n: int) -> FrameDataset:
    """The frames of a source, as a dataset."""
    env_id = NAMES[name]
    if env_id is not None:
        return collect_frames(env_id, out, n_frames=n, seed=SEED, progress=False)
    return FrameDataset.from_arrays(out, camera_frames(n), spec=FrameSpec(SIDE, SIDE))


def camera_frames(n: int) -> NDArray[np.uint8]:
    """(n, 64, 64, 3) frames of a camera that moves over a photograph, with sensor noise."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photograph = load_sample_images().images[0]
    free = np.array(photograph.shape[:2]) - CROP
    rng = np.random.default_rng(SEED)
    frames = np.empty((n, SIDE, SIDE, 3), np.uint8)
    for number in range(n):
        phase = number / FPS * np.array([0.5, 0.31])
        top, left = (free / 2 * (1 + np.sin(phase))).astype(int)
        crop = Image.fromarray(photograph[top : top + CROP, left : left + CROP])
        small = np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
        noisy = small + rng.normal(0, NOISE, small.shape)
        frames[number] = np.clip(np.rint(noisy), 0, 255)
    return frames


def bytes_of(folder: Path, name: str) -> int:
    """Bytes of a file in all shards."""
    return sum(path.stat().st_size for path in folder.glob(f"shard-*/{name}"))


def lines_of(figures: dict[str, float], n: int, rounds: int) -> Iterator[str]:
    """A page with the tables."""
    host, blosc2_version = machine(), version("blosc2")
    load = os.getloadavg()[0]
    yield "# Compressed shards"
    yield ""
    yield (
        f"`rl-vae compress` replaces frames.npy by frames.npy.zst: Zstandard, level {LEVEL}, "
        f"blocks of {BLOCK_BYTES // 1024} KiB, which are {ROWS} frames of {SIDE} x {SIDE} x 3. "
        f"{n:,} frames of each source, medians of {rounds} rounds in turn, one thread. "
        f"{host['processor']}, {host['cores']} cores, {host['system']}, "
        f"load average {load:.1f} at the end; commit "
        f"{git_commit(__file__)}; `python benchmarks/bench_compress.py`, seed {SEED}. Blosc2 "
        f"{blosc2_version}: Zstandard, level 5, one chunk of {ROWS} frames, no filter, or with "
        "bitshuffle."
    )
    yield ""
    yield (
        f"The camera is made up: a crop that moves over a photograph of scikit-learn, at {FPS} "
        f"frames per second, with Gaussian noise of standard deviation {NOISE:g}. The noise sets "
        "the size: what is random cannot be compressed without loss."
    )
    yield ""
    yield "## Bytes per frame"
    yield ""
    yield (
        "| source | frames.npy | frames.npy.zst | share | Blosc2 | Blosc2, bitshuffle | "
        "compressed, frames/s |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name in NAMES:
        raw, zstd, plain, bits = (
            figures[f"bytes_{kind}_{name}"] for kind in ("raw", "zstd", "blosc2", "bitshuffle")
        )
        yield (
            f"| {name} | {raw:,.0f} | {zstd:,.0f} | {zstd / raw:.1%} | {plain:,.0f} | "
            f"{bits:,.0f} | {figures[f'compress_{name}']:,.0f} |"
        )
    yield ""
    yield "## Frames read per second"
    yield ""
    yield (
        "single: `dataset[row]` in random order. batch: `dataset.frames` of 256 random rows. "
        "sequence: all frames, 256 at a time. In brackets the ratio to frames.npy. Training that "
        "fits into `memory` expands all shards once, and then reads as from frames.npy."
    )
    yield ""
    yield "| source | access | frames.npy | frames.npy.zst | Blosc2 |"
    yield "|---|---|---|---|---|"
    for name in NAMES:
        for access in ACCESSES:
            raw, zstd, blosc = (
                figures[f"{access}_{kind}_{name}"] for kind in ("raw", "zstd", "blosc2")
            )
            yield (
                f"| {name} | {access} | {raw:,.0f} | {zstd:,.0f} ({zstd / raw:.2f}) | "
                f"{blosc:,.0f} ({blosc / raw:.2f}) |"
            )
    yield ""
    yield "## Choice of blocks and level"
    yield ""
    yield (
        "Bytes per frame, and in brackets thousands of single frames per second that are expanded, "
        "without reading from the disk. A block is compressed as one frame of Zstandard."
    )
    yield ""
    yield f"| frames in a block, level | {' | '.join(NAMES)} |"
    yield f"|---|{'---|' * len(NAMES)}"
    for rows, level in CHOICES:
        cells = [
            f"{figures[f'block_{rows}_{level}_{name}']:,.0f} "
            f"({figures[f'expand_{rows}_{level}_{name}'] / 1e3:,.0f})"
            for name in NAMES
        ]
        yield f"| {rows}, {level} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
