"""The folder of a LeRobot data set, version 3: numbers in Parquet, images in MP4 or in Parquet.

Several episodes share a file. `action`, `next.reward` and `next.done` are actions, rewards and
ends; all other numbers, such as `observation.state`, are factors. Texts are left out.

Shape letters: N frames of an episode, h w image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rl_vae.data.records import CHUNK_BYTES, Records, array_records, cut_records
from rl_vae.envs.find_pixels import resolve_pixels
from rl_vae.errors import DatasetError
from rl_vae.formats.format import Format, ReadOptions, Source, nest_images, readable
from rl_vae.formats.pictures import read_picture
from rl_vae.formats.videos import decode
from rl_vae.system import strict_json

VERSION = "v3."
"""Beginning of the version of the layout."""
_IMAGES = ("video", "image")
_INDICES = ("timestamp", "frame_index", "episode_index", "index")
_NAMES = {"action": "actions", "next.reward": "rewards", "next.done": "terminated"}
"""Arguments of `array_records` by the names of features."""


def is_lerobot(path: Path) -> bool:
    """Whether a folder is that of a LeRobot data set."""
    return (path / "meta" / "info.json").is_file()


def read_lerobot(path: Path, options: ReadOptions) -> Source:
    """Open the folder of a LeRobot data set.

    Raises:
        DatasetError: if it is damaged, has another version, or has no images.
        ObservationError: if the image is ambiguous, or its conversion must be chosen.
    """
    # What the data set says of itself
    with readable(path, "the folder of a LeRobot data set"):
        info = strict_json.read_object(path / "meta" / "info.json")
        version, fps, features = str(info["codebase_version"]), float(info["fps"]), info["features"]
        if not version.startswith(VERSION):
            raise DatasetError(
                f"{path} has another version of LeRobot's layout.",
                expected=f"{VERSION}0",
                got=version,
                remedy="convert it with LeRobot's own script, convert_dataset_v21_to_v30",
            )
        cameras: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0, 255, _image_shape(feature), np.uint8)
            for name, feature in features.items()
            if feature["dtype"] in _IMAGES and "/" not in name and ".." not in name
        }
    source = resolve_pixels(path.name, spaces.Dict(cameras), options.pixels) if cameras else None
    if source is None:
        raise DatasetError(
            f"{path} has no images.",
            expected="a feature of the type video or image",
            got=", ".join(features),
            remedy="record a data set with a camera",
        )
    # Images, numbers, and what is left out
    kinds = {str(camera): features[str(camera)]["dtype"] for (camera,) in source.paths}
    numbers = {
        name: feature
        for name, feature in features.items()
        if _is_numeric(feature) and name not in _INDICES
    }
    ignored = sorted({*features} - {*numbers, *kinds, *_INDICES})
    reader = _Reader(path, fps, kinds, numbers)

    def records() -> Iterator[Records]:
        for episode in reader.episodes():
            for piece, images in reader.read(episode):
                yield piece._replace(images=nest_images(source, images))

    return Source(records(), {"ignored": ignored}, source, reader.close)


class _Reader:
    """Reads episodes in their order; each file is read once, from front to back."""

    def __init__(
        self, root: Path, fps: float, kinds: dict[str, str], numbers: dict[str, Any]
    ) -> None:
        self._root, self._fps, self._kinds, self._numbers = root, fps, kinds, numbers
        self._table: tuple[Path, Any] | None = None
        self._videos = {name: _Video(fps) for name, kind in kinds.items() if kind == "video"}

    def close(self) -> None:
        """Close the videos."""
        for video in self._videos.values():
            video.close()

    def episodes(self) -> list[dict[str, Any]]:
        """Where each episode lies, in their order."""
        files = sorted((self._root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
        rows: list[dict[str, Any]] = []
        for file in files:
            table = _read_parquet(file)
            names = [name for name in table.column_names if not name.startswith("stats/")]
            rows += table.select(names).to_pylist()
        if not rows:
            raise DatasetError(
                f"{self._root} has no episodes.",
                expected="meta/episodes/chunk-000/file-000.parquet with a row for each episode",
                got=f"{len(files)} files",
                remedy="end the recording with finalize(), which writes them",
            )
        return sorted(rows, key=lambda row: int(row["episode_index"]))

    def read(self, episode: dict[str, Any]) -> Iterator[tuple[Records, list[NDArray[Any]]]]:
        """Pieces of an episode, and the images of each camera."""
        file = self._file("data", episode)
        if self._table is None or self._table[0] != file:
            self._table = file, _read_parquet(file)
        with readable(file, "the steps of LeRobot's episodes"):
            index = self._table[1]["episode_index"].to_numpy()
            rows = np.flatnonzero(index == episode["episode_index"])
            n = int(episode["length"])
            table = self._table[1].slice(int(rows[0]) if len(rows) else 0, len(rows))
            if len(rows) != n or n < 1 or table["frame_index"].to_pylist() != list(range(n)):
                raise ValueError(f"{len(rows)} of {n} steps of episode {episode['episode_index']}")
            arrays = self._arrays(table)
        (records,) = array_records(
            np.zeros((n, 1), np.uint8), episodes=np.zeros(n, np.int64), **arrays
        )
        images = [self._camera(name, kind, episode, table) for name, kind in self._kinds.items()]
        done = 0
        while done < n:
            pieces = [[next(camera)] for camera in images]
            step = max(1, CHUNK_BYTES // sum(piece[0].nbytes for piece in pieces))
            for piece, camera in zip(pieces, images, strict=True):
                piece += [next(camera) for _ in range(min(step, n - done) - 1)]
            taken = slice(done, done + len(pieces[0]))
            yield cut_records(records, taken, None), [np.stack(piece) for piece in pieces]
            done = taken.stop

    def _camera(
        self, name: str, kind: str, episode: dict[str, Any], table: Any
    ) -> Iterator[NDArray[np.uint8]]:
        """Images (h, w, 3) of one camera, one after the other."""
        if kind == "image":
            for row in table[name]:
                value = row.as_py()
                yield read_picture(self._root / "data" / name, io.BytesIO(value["bytes"]))
            return
        prefix = f"videos/{name}"
        file = self._file(prefix, episode)
        start = float(episode[f"{prefix}/from_timestamp"])
        yield from self._videos[name].frames(file, start, int(episode["length"]))

    def _file(self, kind: str, episode: dict[str, Any]) -> Path:
        with readable(self._root / "meta" / "episodes", "the files of LeRobot's episodes"):
            chunk, number = (int(episode[f"{kind}/{part}_index"]) for part in ("chunk", "file"))
        ending = "parquet" if kind == "data" else "mp4"
        return self._root / kind / f"chunk-{chunk:03d}" / f"file-{number:03d}.{ending}"

    def _arrays(self, table: Any) -> dict[str, Any]:
        """Arguments of `array_records`."""
        arrays: dict[str, Any] = {"factors": {}}
        for name, feature in self._numbers.items():
            values = _as_array(table[name])
            if name in _NAMES:
                flat = name != "action" or values.shape[1:] == (1,)
                arrays[_NAMES[name]] = values.reshape(len(values), -1)[:, 0] if flat else values
                continue
            name = name.removeprefix("observation.")
            columns = values.reshape(len(values), -1).T
            labels = _labels(feature, len(columns))
            arrays["factors"] |= {
                f"{name}.{label}" if label else name: column
                for label, column in zip(labels, columns, strict=True)
            }
        return arrays


class _Video:
    """A video file that is decoded from front to back."""

    def __init__(self, fps: float) -> None:
        self._fps, self._file = fps, Path()
        self._frames: Any = iter(())
        self._last = math.inf

    def close(self) -> None:
        """Stop decoding."""
        if hasattr(self._frames, "close"):
            self._frames.close()

    def frames(self, file: Path, start: float, n: int) -> Iterator[NDArray[np.uint8]]:
        """Yield N images from a time on, which is in seconds from the beginning of the file."""
        slack = 0.5 / self._fps
        if file != self._file or start < self._last + slack:
            self.close()
            self._file, self._frames, self._last = file, decode(file), -math.inf
        for k in range(n):
            wanted = start + k / self._fps
            frame = next(self._frames, None)
            while frame is not None and frame.time < wanted - slack:
                frame = next(self._frames, None)
            if frame is None or frame.time > wanted + slack:
                raise DatasetError(
                    f"{file} does not fit its data set.",
                    expected=f"a frame at {wanted:g} s, {self._fps:g} frames per second",
                    got="the end of the video" if frame is None else f"a frame at {frame.time:g} s",
                    remedy="restore the file from its source",
                )
            self._last = frame.time
            yield frame.image


def _read_parquet(file: Path) -> Any:
    from pyarrow import parquet

    with readable(file, "a Parquet file of a LeRobot data set"):
        return parquet.ParquetFile(file).read()


def _as_array(column: Any) -> NDArray[Any]:
    """A column of numbers, or of lists of equal length, (N,) or (N, K)."""
    values = column.combine_chunks()
    n, lengths = len(values), 0
    while hasattr(values, "flatten") and str(values.type).startswith(("list", "fixed", "large")):
        values, lengths = values.flatten(), 1
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array.reshape(n, -1) if lengths else array


def _image_shape(feature: dict[str, Any]) -> tuple[int, ...]:
    """(h, w, 3): images are decoded to RGB, in whatever order their axes are described."""
    sides = [int(side) for side in feature["shape"]]
    first = str((feature.get("names") or ["height"])[0])
    return (*(sides[1:] if first.startswith("channel") else sides[:2]), 3)


def _is_numeric(feature: dict[str, Any]) -> bool:
    kind = str(feature["dtype"])
    return kind.startswith(("float", "int", "uint", "bool"))


def _labels(feature: dict[str, Any], n: int) -> list[str]:
    """Names of the N numbers of a feature; one number has no name."""
    names: Any = feature.get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() for name in group]
    if n == 1:
        return [""]
    return [str(name) for name in names] if names and len(names) == n else list(map(str, range(n)))


FORMAT = Format("lerobot", "the folder of a LeRobot data set, v3", is_lerobot, read_lerobot)
