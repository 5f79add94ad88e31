"""Benchmark: frames per second of each importer and exporter, and memory for larger sources.

Frames are 64 x 64 x 3: a square that moves over a smooth background, in episodes of 250 frames.
Each import and export runs in a process of its own, without the start of Python. A source has
2,000 and 20,000 frames. Rates are those of the larger one, the median of the rounds. An import
holds up to a shard, here 4,096 frames or 48 MiB, so the larger source needs up to 24 MiB more.

import_NAME, export_NAME     frames/s, with conversion, hashing and disk
memory_NAME_1, memory_NAME_10  peak resident memory of an import in MiB, by the size of the source
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae import FrameDataset, FrameSpec, export_data, import_frames
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures

SIDE, EPISODE, FPS = 64, 250, 30
SIZES = (2_000, 20_000)
SEED = 0
SOURCES = ("npz", "hdf5", "lerobot", "videos", "minari", "pictures")
EXPORTS = {"npz": "npz", "hdf5": "hdf5", "minari": "minari", "videos": "mp4"}
"""Format of `export_data` by the name of the source."""
CAMERA = "observation.images.front"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table there, Markdown")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (default 3)")
    parser.add_argument("--quick", action="store_true", help="few frames: figures of no worth")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    configure_process()
    if arguments.child:
        print(json.dumps(measure_here(*arguments.child)))
        return
    sizes = tuple(size // 10 for size in SIZES) if arguments.quick else SIZES
    rounds = 1 if arguments.quick else arguments.rounds
    figures: dict[str, float] = {}
    for name in SOURCES:
        with TemporaryDirectory() as folder:
            figures |= measure(name, Path(folder), sizes, rounds)
        table = "\n".join(lines_of(figures, sizes, rounds))
        print(table.splitlines()[-1], flush=True)
        if arguments.page:
            arguments.page.write_text(f"{table}\n")
    if arguments.json:
        write_figures(arguments.json, figures, [SEED])


def measure(name: str, folder: Path, sizes: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Rates and memory of one format."""
    figures: dict[str, float] = {}
    for size in sizes:
        source = folder / f"source-{size}"
        write_source(name, size, source)
        runs = [child("import", str(source), folder / "out") for _ in range(rounds)]
        scale = 1 if size == sizes[0] else 10
        figures[f"memory_{name}_{scale}"] = max(run["memory"] for run in runs)
        figures[f"import_{name}"] = statistics.median(size / run["seconds"] for run in runs)
    if name in EXPORTS:
        dataset = folder / "dataset"
        import_frames(source_path(source), dataset, spec=FrameSpec(SIDE, SIDE), progress=False)
        runs = [child(EXPORTS[name], str(dataset), folder / "out") for _ in range(rounds)]
        figures[f"export_{name}"] = statistics.median(sizes[-1] / run["seconds"] for run in runs)
    return figures


def child(action: str, source: str, out: Path) -> dict[str, float]:
    """Seconds and peak memory in MiB of an action in a process of its own."""
    command = [sys.executable, __file__, "--child", action, source, str(out)]
    result: dict[str, float] = json.loads(subprocess.check_output(command, text=True))
    if out.is_dir():
        shutil.rmtree(out)
    else:
        out.unlink()
    return result


def measure_here(action: str, source: str, out: str) -> dict[str, float]:
    """Import or export here."""
    start = time.perf_counter()
    if action == "import":
        spec = FrameSpec(SIDE, SIDE)
        import_frames(source_path(Path(source)), out, spec=spec, progress=False)
    else:
        export_data(FrameDataset.open(source), out, format=action)
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    return {"seconds": seconds, "memory": int(status.split()[0]) / 1024}


def source_path(folder: Path) -> Path:
    """What is imported of a source: its file, or its folder."""
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 and files[0].suffix in (".npz", ".h5") else folder


def frames_of(start: int, stop: int) -> NDArray[np.uint8]:
    """(N, 64, 64, 3) frames of the episodes."""
    y, x = np.mgrid[:SIDE, :SIDE]
    frames = np.repeat(np.stack([2 * x, 2 * y, x + y], -1)[None], stop - start, 0).astype(np.uint8)
    for row, number in enumerate(range(start, stop)):
        left, top = 7 * number % 48, 3 * number % 48
        frames[row, top : top + 16, left : left + 16] = number // EPISODE % 256
    return frames


def episodes(size: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Number and frames of each episode."""
    for number, start in enumerate(range(0, size, EPISODE)):
        yield number, frames_of(start, min(size, start + EPISODE))


def write_source(name: str, size: int, out: Path) -> None:
    """Write a source, by rl_vae's exporters or by the library of the format."""
    out.mkdir()
    own: dict[str, Callable[[int, Path], None]] = {
        "pictures": write_pictures,
        "lerobot": write_lerobot,
    }
    if name in own:
        own[name](size, out)
        return
    with FrameDataset.create(out.with_name("first"), FrameSpec(SIDE, SIDE)) as writer:
        for _, frames in episodes(size):
            n = len(frames)
            writer.add_episode(frames, actions=np.zeros((n, 2)), rewards=np.ones(n))
    dataset, out_is = FrameDataset.open(out.with_name("first")), EXPORTS[name]
    file = {"npz": out / "frames.npz", "hdf5": out / "frames.h5"}.get(name)
    if file is None:
        out.rmdir()
    export_data(dataset, file or out, format=out_is)
    shutil.rmtree(dataset.path)


def write_pictures(size: int, out: Path) -> None:
    """Write a folder of PNGs for each episode."""
    from PIL import Image

    for number, frames in episodes(size):
        folder = out / str(number)
        folder.mkdir()
        for step, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / f"{step}.png", compress_level=1)


def write_lerobot(size: int, out: Path) -> None:
    """Write a data set in LeRobot's layout: one video, one file of steps."""
    import av
    import pyarrow
    from pyarrow import parquet

    features = {
        CAMERA: {"dtype": "video", "shape": [SIDE, SIDE, 3], "names": ["height"]},
        "action": {"dtype": "float32", "shape": [2], "names": None},
    }
    info = {"codebase_version": "v3.0", "fps": FPS, "features": features}
    places = [out / "meta/episodes", out / f"videos/{CAMERA}", out / "data"]
    for place in places:
        (place / "chunk-000").mkdir(parents=True)
    (out / "meta/info.json").write_text(json.dumps(info))
    rows: list[dict[str, Any]] = []
    with av.open(str(places[1] / "chunk-000/file-000.mp4"), "w") as video:
        stream = video.add_stream("libx264", rate=Fraction(FPS))
        stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for number, frames in episodes(size):
            row: dict[str, Any] = {"episode_index": number, "length": len(frames)}
            for kind in ("data", f"videos/{CAMERA}"):
                row |= {f"{kind}/chunk_index": 0, f"{kind}/file_index": 0}
            rows.append({**row, f"videos/{CAMERA}/from_timestamp": number * EPISODE / FPS})
            for frame in frames:
                video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        video.mux(stream.encode(None))
    parquet.write_table(pyarrow.Table.from_pylist(rows), places[0] / "chunk-000/file-000.parquet")
    step = np.arange(size)
    columns = {
        "action": pyarrow.array([[0.0, 1.0]] * size, pyarrow.list_(pyarrow.float32(), 2)),
        "frame_index": step % EPISODE,
        "episode_index": step // EPISODE,
    }
    parquet.write_table(pyarrow.table(columns), places[2] / "chunk-000/file-000.parquet")


def lines_of(figures: dict[str, float], sizes: tuple[int, ...], rounds: int) -> Iterator[str]:
    """A page with the table."""
    host = machine()
    yield "# Speed and memory of imports and exports"
    yield ""
    yield (
        f"Frames of {SIDE} x {SIDE} x 3 in episodes of {EPISODE}. Rates: {sizes[-1]:,} frames, "
        f"median of {rounds} rounds. Memory: peak resident memory of the process that imports; it "
        f"holds up to a shard, here 4,096 frames or 48 MiB, whatever the size of the source. "
        f"{host['processor']}, {host['cores']} cores, {host['system']}; commit "
        f"{git_commit(__file__)}; `python benchmarks/bench_import.py`, seed {SEED}."
    )
    yield ""
    yield (
        f"| format | import, frames/s | export, frames/s | MiB for {sizes[0]:,} frames | "
        f"MiB for {sizes[-1]:,} |"
    )
    yield "|---|---|---|---|---|"
    for name in (name for name in SOURCES if f"import_{name}" in figures):
        small, large = (figures[f"memory_{name}_{scale}"] for scale in (1, 10))
        export = figures.get(f"export_{name}")
        yield (
            f"| {name} | {figures[f'import_{name}']:,.0f} | "
            f"{'–' if export is None else f'{export:,.0f}'} | {small:,.0f} | {large:,.0f} |"
        )


if __name__ == "__main__":
    main()
