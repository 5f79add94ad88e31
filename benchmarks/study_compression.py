"""Study: lossless compression of frames, bytes and frames read per second.

For each dataset, 2,048 frames of 64 x 64 x 3 are compressed in blocks of 1, 16 and 64 frames, by
zstandard (levels 1, 3, 9; also of the differences between consecutive frames of a block) and by
Blosc2 (zstd with bytes or bits shuffled). A single frame that is read costs the whole block. Needs
`pip install zstandard blosc2`. The camera video is synthetic: a moving camera over a textured
plane, with noise of the sensor (standard deviation 2), because no video lies in the repository.

bytes_DATASET_CODEC_BLOCK    bytes per frame; 12,288 without compression
single_DATASET_CODEC_BLOCK   frames/s, read at random, one at a time, from memory
batch_DATASET_CODEC_BLOCK    frames/s, read in order, from memory
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae import FrameSpec, collect_frames
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures

N, SIDE, SEED = 2_048, 64, 0
BLOCKS = (1, 16, 64)
ENVIRONMENTS = {
    "CartPole": "CartPole-v1",
    "CarRacing": "CarRacing-v3",
    "Pong": "ALE/Pong-v5",
    "MiniGrid": "MiniGrid-Empty-8x8-v0",
}
Frames = NDArray[np.uint8]


class Codec(NamedTuple):
    """Compresses blocks of frames (B, H, W, C)."""

    compress: Callable[[Frames], bytes]
    expand: Callable[[bytes, tuple[int, ...]], Frames]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table there, Markdown")
    parser.add_argument("--quick", action="store_true", help="few frames: figures of no worth")
    arguments = parser.parse_args()
    configure_process()
    n = 256 if arguments.quick else N
    figures: dict[str, float] = {}
    for dataset, frames in datasets(n):
        for name, codec in codecs().items():
            for block in BLOCKS:
                measured = measure(codec, frames, block)
                keys = (f"{part}_{dataset}_{name}_{block}" for part in measured._fields)
                figures |= dict(zip(keys, measured, strict=True))
        print(f"{dataset}: measured", flush=True)
    page = "\n".join(lines_of(figures, n))
    print(page)
    if arguments.page:
        arguments.page.write_text(f"{page}\n")
    if arguments.json:
        write_figures(arguments.json, figures, [SEED])


def datasets(n: int) -> Iterator[tuple[str, Frames]]:
    """Name and frames of each dataset."""
    with TemporaryDirectory() as folder:
        for name, env_id in ENVIRONMENTS.items():
            dataset = collect_frames(
                env_id,
                Path(folder) / name,
                n_frames=n,
                spec=FrameSpec(SIDE, SIDE),
                engine="gymnasium",
                workers=1,
                seed=SEED,
                progress=False,
            )
            yield name, dataset.frames(np.arange(n))
    yield "camera", camera_video(n)


def camera_video(n: int) -> Frames:
    """A camera that moves over a textured plane, with noise of its sensor."""
    rng = np.random.default_rng(SEED)
    plane = rng.normal(size=(512, 512, 3))
    for axis in (0, 1):
        for _ in range(3):  # smooth
            plane = (np.roll(plane, 1, axis) + plane + np.roll(plane, -1, axis)) / 3
    plane = 128 + 40 * plane / plane.std()
    frames = np.empty((n, SIDE, SIDE, 3), np.uint8)
    for t in range(n):
        top, left = (int(200 + 150 * f(t / 40)) for f in (np.sin, np.cos))
        seen = plane[top : top + SIDE, left : left + SIDE]
        frames[t] = np.clip(seen + rng.normal(0, 2, seen.shape), 0, 255)
    return frames


def codecs() -> dict[str, Codec]:
    """The codecs by name."""
    import blosc2
    import zstandard

    expander = zstandard.ZstdDecompressor()

    def plain(content: bytes, shape: tuple[int, ...]) -> Frames:
        return np.frombuffer(expander.decompress(content), np.uint8).reshape(shape)

    def summed(content: bytes, shape: tuple[int, ...]) -> Frames:
        frames: Frames = np.cumsum(plain(content, shape), axis=0, dtype=np.uint8)
        return frames

    def differences(frames: Frames) -> Frames:
        return np.diff(frames, axis=0, prepend=np.zeros_like(frames[:1]))

    found: dict[str, Codec] = {}
    for level in (1, 3, 9):

        def compress(frames: Frames, level: int = level) -> bytes:
            content: bytes = zstandard.ZstdCompressor(level=level).compress(frames.tobytes())
            return content

        found[f"zstd-{level}"] = Codec(compress, plain)
    packer = zstandard.ZstdCompressor(level=3)
    found["zstd-3-differences"] = Codec(
        lambda frames: packer.compress(differences(frames).tobytes()), summed
    )
    for name, shuffle in (("bytes", blosc2.Filter.SHUFFLE), ("bits", blosc2.Filter.BITSHUFFLE)):

        def pack(frames: Frames, shuffle: Any = shuffle) -> bytes:
            settings = {"typesize": 3, "clevel": 3, "filter": shuffle, "codec": blosc2.Codec.ZSTD}
            return bytes(blosc2.compress(frames.tobytes(), **settings))

        found[f"blosc2-{name}"] = Codec(
            pack, lambda c, s: np.frombuffer(blosc2.decompress(c), np.uint8).reshape(s)
        )
    return found


class Measured(NamedTuple):
    """Bytes per frame, and frames read per second."""

    bytes: float
    single: float
    batch: float


def measure(codec: Codec, frames: Frames, block: int) -> Measured:
    """Compress frames in blocks, check that they come back, and time the reading."""
    parts = [frames[start : start + block] for start in range(0, len(frames), block)]
    packed = [codec.compress(np.ascontiguousarray(part)) for part in parts]
    start = time.perf_counter()
    back = [codec.expand(c, part.shape) for c, part in zip(packed, parts, strict=True)]
    batch = len(frames) / (time.perf_counter() - start)
    assert all(np.array_equal(one, other) for one, other in zip(back, parts, strict=True))
    rows = np.random.default_rng(SEED).integers(0, len(frames), 256)
    start = time.perf_counter()
    for row in rows.tolist():
        number = row // block
        _ = codec.expand(packed[number], parts[number].shape)[row % block].copy()
    single = len(rows) / (time.perf_counter() - start)
    return Measured(sum(map(len, packed)) / len(frames), single, batch)


def lines_of(figures: dict[str, float], n: int) -> Iterator[str]:
    """A page with a table for each dataset."""
    host = machine()
    yield "# Lossless compression of frames"
    yield ""
    yield (
        f"{n:,} frames of {SIDE} x {SIDE} x 3 ({SIDE * SIDE * 3:,} bytes each). "
        f"{host['processor']}, {host['cores']} cores, {host['system']}; commit "
        f"{git_commit(__file__)}; `python benchmarks/study_compression.py`, seed {SEED}. Read from "
        "memory by one thread; the camera video is synthetic."
    )
    for dataset in (*ENVIRONMENTS, "camera"):
        yield ""
        yield f"| {dataset}: codec | frames in a block | bytes a frame | single/s | in order/s |"
        yield "|---|---|---|---|---|"
        for name in codecs():
            for block in BLOCKS:
                size, single, batch = (
                    figures[f"{part}_{dataset}_{name}_{block}"] for part in Measured._fields
                )
                yield f"| {name} | {block} | {size:,.0f} | {single:,.0f} | {batch:,.0f} |"


if __name__ == "__main__":
    main()
