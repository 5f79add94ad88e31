"""Videos, one file an episode: MP4, AVI, MKV and others that FFmpeg decodes.

Also what Gymnasium's RecordVideo writes. A table of the same name beside a video (NAME.csv,
NAME.parquet or NAME.npz) gives actions, rewards, ends and factors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.records import CHUNK_BYTES, Records, array_records
from rl_vae.errors import ConfigError, DatasetError
from rl_vae.formats.format import Format, ReadOptions, Source, in_natural_order, readable
from rl_vae.formats.steps import step_arrays
from rl_vae.formats.tables import Columns, as_arrays, find_table, read_table
from rl_vae.frames import UInt8Array

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm")
FPS = 30
"""Frames per second of a video that is written: the data do not know theirs."""
CRF = "12"
"""Quality of H.264: 0 is lossless, 23 usual."""


class Frame(NamedTuple):
    """A decoded frame of a video."""

    image: UInt8Array
    """(h, w, 3) RGB."""
    time: float
    """Seconds from the beginning of the video."""


def is_video(path: Path) -> bool:
    """Whether a path is a video, or a folder with videos."""
    if path.is_dir():
        return any(file.suffix.lower() in VIDEOS for file in path.iterdir())
    return path.suffix.lower() in VIDEOS


def read_videos(path: Path, options: ReadOptions) -> Source:
    """Open a video, or a folder of videos in the natural order of their names."""
    files = [path]
    if path.is_dir():
        files = in_natural_order(f for f in path.iterdir() if f.suffix.lower() in VIDEOS)
    return Source(records for file in files for records in _read_video(file))


def decode(path: Path) -> Iterator[Frame]:
    """Decode a video, one frame after the other.

    Raises:
        DatasetError: if it is damaged, holds fewer frames than it says, or is turned.
    """
    import av

    n = 0
    with readable(path, "a whole video that FFmpeg decodes"), av.open(str(path)) as video:
        if not video.streams.video:
            raise ValueError("no video in the file")
        stream = video.streams.video[0]
        stream.thread_type = "AUTO"
        start = 0.0
        for frame in video.decode(stream):
            if frame.is_corrupt:
                raise ValueError(f"frame {n} is damaged")
            if getattr(frame, "rotation", 0):
                raise DatasetError(
                    f"{path} is turned by {frame.rotation} degrees when it is shown.",
                    expected="a video whose pixels are upright",
                    got="a video with a rotation in its metadata",
                    remedy="turn the pixels: ffmpeg -i VIDEO UPRIGHT.mp4",
                )
            time = float(frame.time) if frame.time is not None else n / FPS
            start = time if n == 0 else start
            image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            yield Frame(image, time - start)
            n += 1
        if n < stream.frames:
            raise ValueError(f"{n} of {stream.frames} frames")
        if not n:
            raise ValueError("no frame in the file")


def _read_video(path: Path) -> Iterator[Records]:
    """Yield the frames of a video, with the rows of its table."""
    table = find_table(path.with_suffix(""))
    columns = None if table is None else read_table(table)
    images: list[UInt8Array] = []
    times: list[float] = []
    done = 0
    for frame in decode(path):
        images.append(frame.image)
        times.append(frame.time)
        if len(images) * frame.image.nbytes >= CHUNK_BYTES:
            yield from _piece(path, images, times, done, table, columns)
            done, images, times = done + len(images), [], []
    yield from _piece(path, images, times, done, table, columns)
    # Rows that are left over
    if table is not None and columns is not None and not {"frame", "time"} & set(columns):
        rows, n = _length(columns), done + len(images)
        if n - rows not in (0, 1):
            raise _wrong_rows(table, path, f"{rows} rows for {n} frames")


def _piece(
    path: Path,
    images: list[UInt8Array],
    times: list[float],
    done: int,
    table: Path | None,
    columns: Columns | None,
) -> Iterator[Records]:
    """Some frames of a video with their rows."""
    arrays: dict[str, Any] = {}
    if table is not None and columns is not None:
        rows = _rows_of(path, table, columns, done, np.array(times))
        images = images[: len(rows)]
        arrays = as_arrays(table, columns, rows)
    if images:
        number = np.zeros(len(images), np.int64)
        for k, piece in enumerate(array_records(np.stack(images), episodes=number, **arrays)):
            first = np.zeros(len(piece.is_first), np.bool_)
            first[0] = done == 0 and k == 0
            yield piece._replace(is_first=first)


def _rows_of(
    path: Path, table: Path, columns: Columns, done: int, times: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Rows of the table that belong to some frames.

    Without the columns `frame` and `time` there is a row for each frame, or one fewer: a last frame
    without a row, at which no action was taken, is not stored.
    """
    numbers = done + np.arange(len(times))
    if "frame" in columns:
        row_of = {int(frame): row for row, frame in enumerate(columns["frame"].tolist())}
        missing = [int(n) for n in numbers if int(n) not in row_of]
        if missing:
            raise _wrong_rows(table, path, f"no row for the frames {missing[:3]}")
        return np.array([row_of[int(n)] for n in numbers])
    if "time" in columns:
        return _nearest(path, table, columns["time"].astype(np.float64), times)
    rows = _length(columns)
    if numbers[-1] > rows:
        raise _wrong_rows(table, path, f"{rows} rows for {numbers[-1] + 1} frames or more")
    return numbers[numbers < rows]


def _nearest(
    path: Path, table: Path, rows: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The row that is nearest in time to each frame; beyond the ends, by at most two intervals."""
    if len(rows) < 2 or not (np.diff(rows) > 0).all():
        raise _wrong_rows(table, path, "times that do not increase from row to row")
    slack = 2 * float(np.median(np.diff(rows)))
    if times[0] < rows[0] - slack or times[-1] > rows[-1] + slack:
        got = f"rows from {rows[0]:g} to {rows[-1]:g} s, frames from {times[0]:g} to {times[-1]:g}"
        raise _wrong_rows(table, path, got)
    after = np.clip(np.searchsorted(rows, times), 1, len(rows) - 1)
    return after - (times - rows[after - 1] <= rows[after] - times)


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _wrong_rows(table: Path, path: Path, got: str) -> DatasetError:
    return DatasetError(
        f"{table} does not fit {path}.",
        expected="a row for each frame, or a column frame, or a column time in seconds from the "
        "first frame, increasing, over the whole video",
        got=got,
        remedy="correct the table",
    )


def write_videos(dataset: FrameDataset, out: Path) -> None:
    """Write a folder with one MP4 (H.264) and one table per episode. Frames are not kept exactly.

    Raises:
        ConfigError: if a side of the frames is odd: the codec needs even ones.
    """
    height, width, channels = dataset.spec.shape
    if height % 2 or width % 2:
        raise ConfigError(
            "H.264 needs an even height and width.",
            expected="frames of even height and width",
            got=f"{height} x {width}",
            remedy="choose the format npz or hdf5",
        )
    for number, episode in enumerate(dataset.episodes):
        stem = out / f"episode-{number:05d}"
        rows = np.arange(episode.start, episode.start + episode.length)
        batches = dataset.in_batches(rows)
        images = (image for frames in batches for image in np.repeat(frames, 3 // channels, axis=3))
        _encode(stem.with_suffix(".mp4"), images, (height, width))
        arrays: dict[str, Any] = step_arrays(dataset, rows, table=True)
        np.savez(stem.with_suffix(".npz"), **arrays)


def write_h264(source: Path, out: Path) -> None:
    """Write a video that FFmpeg decodes as MP4 (H.264); an odd last row or column is cut.

    Raises:
        DatasetError: if the video is damaged.
        ImportError: if PyAV is not installed.
    """
    import av

    frames = decode(source)
    first = next(frames)
    with av.open(str(source)) as video:
        rate = video.streams.video[0].average_rate or FPS
    height, width = (side // 2 * 2 for side in first.image.shape[:2])
    images = (frame.image[:height, :width] for frame in itertools.chain([first], frames))
    _encode(out, images, (height, width), Fraction(rate))


def _encode(
    path: Path, images: Iterable[UInt8Array], size: tuple[int, int], rate: Fraction = Fraction(FPS)
) -> None:
    """Write (H, W, 3) images as H.264; both sides are even."""
    import av

    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=rate)
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        stream.options = {"crf": CRF}
        for image in images:
            video.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                )
            )
        video.mux(stream.encode(None))


FORMAT = Format("videos", "MP4, AVI, MKV, ...: one file an episode", is_video, read_videos)
MP4 = Format("mp4", "a folder of MP4 files, one an episode", lambda path: False, None, write_videos)
