"""FrameDataset: frames on disk in memory-mapped shards, with a manifest that survives anything.

    FOLDER/dataset.json      what defines the dataset: environment, FrameSpec, seed, policy, ...
    FOLDER/manifest.jsonl    one line per committed shard: its rows, SHA-256 of its files and header
    FOLDER/shard-00000/      frames.npy (rows, H, W, C) uint8 and steps.npy (rows,) structured

A shard is written under another name, pushed to the disk and renamed; the manifest line that
follows is its commit. A row of `steps.npy` says what happened from its frame on: the action that
was taken there, the reward it gave, whether the episode ended with it. The rows of one episode
follow each other; a shard begins and ends with its own episodes.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from rl_vae.errors import ConfigError, DatasetError, RlVaeError
from rl_vae.frames import FrameSpec, UInt8Array
from rl_vae.system import files

FORMAT = 1
SHARD_ROWS = 4096
SHARD_BYTES = 64 * 2**20
MOST_MANIFEST = 256 * 2**20
"""Bytes that a manifest has at most: some million shards."""
_AGAIN = (
    "take that shard out by rl-vae verify FOLDER --repair, then collect again: only it is made anew"
)


_ONE_AT_A_TIME = threading.Lock()
"""Filters of warnings belong to all threads."""


@dataclass(frozen=True)
class DatasetHeader:
    """Everything that defines a dataset: the same header gives the same frames."""

    env_id: str
    engine: str
    env_kwargs: Mapping[str, Any]
    frame_skip: int
    image_key: str | None
    spec: FrameSpec
    raw_shape: tuple[int, ...]
    """Shape of one observation before the spec."""
    seed: int
    n_frames: int
    shard_rows: int
    lanes: int
    """Environments that step together within a shard."""
    policy: Mapping[str, Any]
    """How the collector acted, as it describes itself."""
    action_shape: tuple[int, ...]
    action_dtype: str
    factor_names: tuple[str, ...]

    @property
    def shards(self) -> int:
        """Number of shards of the whole dataset."""
        return -(-self.n_frames // self.shard_rows)

    def rows_of(self, shard: int) -> int:
        """Number of frames of one shard; the last one holds what is left."""
        return min(self.shard_rows, self.n_frames - shard * self.shard_rows)

    @property
    def step_dtype(self) -> np.dtype[Any]:
        """One row of steps.npy."""
        return np.dtype(
            [
                ("action", self.action_dtype, self.action_shape),
                ("reward", "<f4"),
                ("terminated", "?"),
                ("truncated", "?"),
                ("episode", "<i4"),
                ("step", "<i4"),
                ("factors", "<f8", (len(self.factor_names),)),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The header as plain JSON values."""
        plain: dict[str, Any] = json.loads(
            json.dumps({**asdict(self), "spec": self.spec.to_dict(), "format": FORMAT})
        )
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DatasetHeader:
        """The header that `to_dict` wrote.

        Raises:
            ValueError, KeyError, TypeError: where it is none.
            ObservationError: where its FrameSpec does not fit its raw observations.
        """
        values = dict(values)
        if values.pop("format") != FORMAT:
            raise ValueError(f"the format number is not {FORMAT}")
        for name, right in _RIGHT.items():
            if not right(values[name]):
                raise ValueError(f"{name} is {str(values[name])[:80]!r}")
        tuples = {name: tuple(values[name]) for name in _TUPLES}
        header = cls(**{**values, **tuples, "spec": FrameSpec.from_dict(values["spec"])})
        header.spec.check_shape(header.raw_shape, np.uint8)
        return header


_MOST = 2**40
"""Frames of a dataset, and whatever else is counted in its header."""
_MOST_NUMBERS = 2**20
"""Of one action. A declared shape costs memory before a file has shown that it is true."""
_TUPLES = ("raw_shape", "action_shape", "factor_names")
_ACTION_DTYPES = frozenset(np.dtype(kind).str for kind in "?bBhHiIlLefd")


def _count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MOST


def _shape(value: Any) -> bool:
    return isinstance(value, list) and all(map(_count, value)) and len(value) <= 32


_RIGHT: dict[str, Callable[[Any], bool]] = {
    "env_id": lambda value: isinstance(value, str),
    "engine": lambda value: isinstance(value, str),
    "env_kwargs": lambda value: isinstance(value, dict),
    "frame_skip": _count,
    "image_key": lambda value: value is None or isinstance(value, str),
    "raw_shape": _shape,
    "seed": lambda value: type(value) is int and value >= 0,
    "n_frames": _count,
    "shard_rows": _count,
    "lanes": _count,
    "policy": lambda value: isinstance(value, dict),
    "action_shape": lambda value: _shape(value) and math.prod(value) <= _MOST_NUMBERS,
    "action_dtype": lambda value: isinstance(value, str) and value in _ACTION_DTYPES,
    "factor_names": lambda value: (
        isinstance(value, list) and all(isinstance(name, str) for name in value)
    ),
}
"""What the value of each field of a header must be."""


class Episode(NamedTuple):
    """Consecutive frames of one episode."""

    start: int
    """Index of its first frame in the dataset."""
    length: int
    """Number of frames."""
    terminated: bool
    """It ended by the environment's own rules."""
    truncated: bool
    """It was cut by a time limit. With neither, the collector stopped watching."""


class Split(NamedTuple):
    """Frame indices, whole episodes on either side."""

    train: NDArray[np.int64]
    held_out: NDArray[np.int64]


def shard_rows_for(spec: FrameSpec) -> int:
    """Rows of a shard: 4,096, or fewer where frames are so large that it would pass 64 MiB."""
    return int(min(SHARD_ROWS, max(64, SHARD_BYTES // int(np.prod(spec.shape)))))


class FrameDataset:
    """Frames on disk, read through memory maps. Open one with `FrameDataset.open(path)`."""

    def __init__(self, path: Path, header: DatasetHeader, lines: Sequence[dict[str, Any]]) -> None:
        self.path, self.header = path, header
        self._lines = sorted(lines, key=lambda line: line["shard"])
        rows = [line["rows"] for line in self._lines]
        self._starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        mapped = [_map_shard(path, header, line) for line in self._lines]
        self._frames: list[Any] = [frames for frames, _ in mapped]
        self._steps = [steps for _, steps in mapped]
        self._episodes: list[Episode] | None = None

    @classmethod
    def open(cls, path: str | Path) -> FrameDataset:
        """Open what `collect_frames` wrote; an interrupted collection gives what it committed.

        Raises:
            DatasetError: where there is no dataset, or a file of it is damaged; what is wrong
                inside a shard is found by `verify`. A torn last line of the manifest is no
                damage: it was never acknowledged.
        """
        path = Path(path)
        header = read_header(path)
        if header is None:
            raise DatasetError(
                f"There is no dataset at {path}.",
                expected="a folder that rl-vae collect wrote, with dataset.json in it",
                got="no such folder" if not path.is_dir() else "a folder without dataset.json",
                remedy="collect one: rl-vae collect ENV_ID --out FOLDER",
            )
        return cls(path, header, read_manifest(path, header))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> UInt8Array:
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        frame: UInt8Array = self.frames(np.array([index % len(self)]))[0]
        return frame

    def __iter__(self) -> Iterator[UInt8Array]:
        for shard in self._frames:
            yield from shard

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the path, and opens it: a memory map would be copied."""
        return FrameDataset.open, (self.path.absolute(),)

    def __repr__(self) -> str:
        return f"FrameDataset({str(self.path)!r}, {len(self):,} frames of {self.spec.shape})"

    @property
    def spec(self) -> FrameSpec:
        """What was applied to every observation."""
        return self.header.spec

    @property
    def complete(self) -> bool:
        """Whether every frame that was asked for has been committed."""
        return len(self._lines) == self.header.shards

    @property
    def digest(self) -> str:
        """SHA-256 over the header and every shard: the same seed gives the same digest."""
        keys = ("shard", "rows", "frames_sha256", "steps_sha256")
        shards = [{key: line[key] for key in keys} for line in self._lines]
        return files.digest({"header": self.header.to_dict(), "shards": shards})

    def frames(self, indices: NDArray[np.int64] | Sequence[int]) -> UInt8Array:
        """The frames at some indices, (N, H, W, C) uint8, in the order asked for."""
        empty = np.empty((0, *self.spec.shape), np.uint8)
        return self._gather(self._frames, empty, indices)

    def in_parts(self, indices: NDArray[np.int64], size: int = 256) -> Iterator[UInt8Array]:
        """Some frames in their order, `size` at a time and the rest: (N, H, W, C) uint8 each."""
        for start in range(0, len(indices), size):
            yield self.frames(indices[start : start + size])

    @property
    def shard_starts(self) -> NDArray[np.int64]:
        """(S + 1,): the index of each shard's first frame, and the number of frames."""
        return self._starts

    def shard(self, which: int) -> UInt8Array:
        """The frames of one shard, read into memory: (rows, H, W, C) uint8."""
        frames: UInt8Array = np.load(self._shard(self._lines[which]) / "frames.npy")
        return frames

    def unmapped(self) -> FrameDataset:
        """The same dataset, whose frames are read from the files and never mapped into memory."""
        dataset = FrameDataset(self.path, self.header, self._lines)
        paths = [self._shard(line) / "frames.npy" for line in self._lines]
        dataset._frames = [_FileRows(*pair) for pair in zip(paths, dataset._frames, strict=True)]
        return dataset

    def steps(self, indices: NDArray[np.int64] | Sequence[int] | None = None) -> NDArray[Any]:
        """What happened from some frames on (all, where none are named): a structured array.

        Fields: action, reward, terminated, truncated, episode, step, factors.
        """
        if indices is None:
            return np.concatenate([np.array(s) for s in self._steps] or [self._no_steps()])
        return self._gather(self._steps, self._no_steps(), indices)

    @property
    def factors(self) -> dict[str, NDArray[np.float64]]:
        """The simulator's state at every frame, by name; empty where it was not to be had."""
        values = self.steps()["factors"]
        return {name: values[:, k] for k, name in enumerate(self.header.factor_names)}

    @property
    def episodes(self) -> list[Episode]:
        """The episodes in the order of their frames."""
        if self._episodes is None:
            steps = self.steps()
            starts = np.flatnonzero(steps["step"] == 0)
            ends = np.append(starts[1:], len(steps))[: len(starts)]
            self._episodes = [
                Episode(
                    int(start),
                    int(end - start),
                    bool(steps["terminated"][end - 1]),
                    bool(steps["truncated"][end - 1]),
                )
                for start, end in zip(starts, ends, strict=True)
            ]
        return self._episodes

    def episode_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of each frame's episode, from 0 in the order of their frames: (N,)."""
        starts = np.array([episode.start for episode in self.episodes])
        return np.searchsorted(starts, indices, side="right") - 1

    def split(self, held_out: float = 0.1, seed: int = 0) -> Split:
        """Share the episodes out, so that no episode has frames on both sides.

        Args:
            held_out: Share of the frames, between 0 and 1, that the held-out side has at least.
            seed: Which episodes those are.

        Raises:
            ConfigError: where `held_out` is out of range.
            DatasetError: where there are fewer than two episodes.
        """
        if not 0 < held_out < 1:
            raise ConfigError(
                "held_out is out of range.",
                expected="a share between 0 and 1",
                got=held_out,
                remedy="choose held_out=0.1",
            )
        if len(self.episodes) < 2:
            raise DatasetError(
                f"{self.path} cannot be split.",
                expected="two episodes or more",
                got=len(self.episodes),
                remedy="collect more frames",
            )
        order = np.random.default_rng([seed, 0x5917]).permutation(len(self.episodes))
        held, frames = [], 0
        for which in order[:-1]:
            held.append(int(which))
            frames += self.episodes[which].length
            if frames >= held_out * len(self):
                break
        mask = np.zeros(len(self), np.bool_)
        for which in held:
            episode = self.episodes[which]
            mask[episode.start : episode.start + episode.length] = True
        return Split(np.flatnonzero(~mask), np.flatnonzero(mask))

    def verify(self) -> None:
        """Read every byte and compare it with the manifest.

        Raises:
            DatasetError: naming the first file that is not what was written.
        """
        for line in self._lines:
            check_shard(self.path, self.header, line)

    def require_complete(self) -> None:
        """Raise DatasetError where the collection was interrupted or holds nothing."""
        if not self.complete:
            raise DatasetError(
                f"{self.path} is not finished.",
                expected=f"{self.header.n_frames:,} frames",
                got=f"{len(self):,}",
                remedy="run the same rl-vae collect command again: it goes on where it stopped",
            )

    def _shard(self, line: Mapping[str, Any]) -> Path:
        return shard_path(self.path, line["shard"])

    def _no_steps(self) -> NDArray[Any]:
        return np.empty(0, self.header.step_dtype)

    def _gather(self, shards: Sequence[Any], empty: NDArray[Any], indices: Any) -> NDArray[Any]:
        wanted = np.asarray(indices)
        if not wanted.size:
            return empty
        if wanted.ndim != 1 or not np.issubdtype(wanted.dtype, np.integer):
            raise IndexError(f"frame indices must be a row of whole numbers, not {wanted.dtype}")
        if wanted.min() < 0 or wanted.max() >= len(self):
            raise IndexError(f"frame indices must be from 0 to {len(self) - 1}")
        out = np.empty((len(wanted), *shards[0].shape[1:]), shards[0].dtype)
        of_shard = np.searchsorted(self._starts, wanted, side="right") - 1
        for which in np.unique(of_shard):
            here = of_shard == which
            out[here] = shards[which][wanted[here] - self._starts[which]]
        return out


class _FileRows:
    """Rows of an array in a file, read when they are asked for.

    A memory map keeps every page that was ever read through it, and the 2 MiB around it where the
    system caches files in such pieces, until memory runs short.
    """

    def __init__(self, path: Path, mapped: NDArray[Any]) -> None:
        assert isinstance(mapped, np.memmap)
        self._path, self._offset = path, mapped.offset
        self.shape, self.dtype = mapped.shape, mapped.dtype

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with self._path.open("rb", buffering=0) as file:
            for into, row in zip(out, rows.tolist(), strict=True):
                file.seek(self._offset + row * into.nbytes)
                if file.readinto(into.data) != into.nbytes:
                    raise _damaged(self._path, self.shape, f"an end in row {row}")
        return out

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter(np.load(self._path))


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{shard:05d}"


def read_header(folder: Path) -> DatasetHeader | None:
    """The header of a dataset, None where there is no dataset.json.

    Raises:
        DatasetError: where dataset.json is not one.
    """
    path = folder / "dataset.json"
    if not path.is_file():
        return None
    try:
        content = files.parse_json(files.read_bounded(path, files.MOST_JSON))
        return DatasetHeader.from_dict(content)
    except (RlVaeError, ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise DatasetError(
            f"{path} is damaged.",
            expected="the header of a dataset",
            got=f"{type(error).__name__}: {error}",
            remedy="bring back the file that was written there, or collect anew",
        ) from error


def read_manifest(folder: Path, header: DatasetHeader) -> list[dict[str, Any]]:
    """The committed shards; a torn last line was never acknowledged and is left out.

    Raises:
        DatasetError: where a whole line is damaged.
    """
    lines = []
    for _, line in scan_manifest(folder, header):
        if isinstance(line, DatasetError):
            raise line
        lines.append(line)
    return lines


def scan_manifest(
    folder: Path, header: DatasetHeader
) -> Iterator[tuple[bytes, dict[str, Any] | DatasetError]]:
    """Every whole line of the manifest as it is written, and what it says or what is wrong with it.

    Raises:
        DatasetError: where the file cannot be read.
    """
    path = folder / "manifest.jsonl"
    if not path.is_file():
        return
    try:
        *whole, _torn = files.read_bounded(path, MOST_MANIFEST).split(b"\n")
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read.",
            expected="the manifest that rl-vae collect wrote",
            got=error,
            remedy="bring it back, or collect anew",
        ) from error
    header_sha256 = files.digest(header.to_dict())
    seen: set[int] = set()
    for number, text in enumerate(whole, 1):
        try:
            line = files.parse_json(text)
            shard, rows = line["shard"], line["rows"]
            right = type(shard) is int and type(rows) is int and shard not in seen
            right &= 0 <= shard < header.shards and rows == header.rows_of(shard)
            shas = [bytes.fromhex(line[f"{part}_sha256"]) for part in ("frames", "steps")]
            right &= all(len(sha) == 32 for sha in shas)
        except (ValueError, KeyError, TypeError):
            right = False
        if not right:
            yield (
                text,
                DatasetError(
                    f"{path} is damaged in line {number}.",
                    expected="a JSON object that names a shard of this dataset, each once",
                    got=repr(text[:80]),
                    remedy="delete that line; collecting again makes its shard anew",
                ),
            )
        elif line.get("header_sha256") != header_sha256:
            yield (
                text,
                DatasetError(
                    f"{folder / 'dataset.json'} is not what it was when shard {shard} was written.",
                    expected=f"SHA-256 {line.get('header_sha256')} of its content",
                    got=header_sha256,
                    remedy="bring back the dataset.json that was written there, or collect anew",
                ),
            )
        else:
            seen.add(shard)
            yield text, line


def drop_torn_line(folder: Path) -> None:
    """Cut off a half-written last line, so that the next line stands alone."""
    path = folder / "manifest.jsonl"
    if path.is_file():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            files.write_whole(path, content[: content.rfind(b"\n") + 1])


class ShardRows:
    """The rows of one shard while it is filled: lane by lane, each lane's rows one after another.

    Args:
        header: Of the dataset.
        shard: Its number.
        old: Rows that have been written: their memory is used again, where it is large enough.
    """

    def __init__(self, header: DatasetHeader, shard: int, old: ShardRows | None = None) -> None:
        self.shard, self.rows = shard, header.rows_of(shard)
        self.header_sha256 = files.digest(header.to_dict())
        again = old is not None and len(old._memory) >= self.rows
        self._memory: UInt8Array = (
            old._memory if old and again else np.empty((self.rows, *header.spec.shape), np.uint8)
        )
        self.frames = self._memory[: self.rows]
        self.steps = np.zeros(self.rows, header.step_dtype)
        share, more = divmod(self.rows, header.lanes)
        self.quota = np.array([share + (lane < more) for lane in range(header.lanes)])
        self.first = np.concatenate([[0], np.cumsum(self.quota)[:-1]])

    def write(self, temporary: Path) -> dict[str, Any]:
        """Write both files into a new folder; returns the manifest's figures on them."""
        line: dict[str, Any] = {"rows": self.rows, "header_sha256": self.header_sha256}
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            for name, array in (("frames", self.frames), ("steps", self.steps)):
                with (temporary / f"{name}.npy").open("wb") as file:
                    npy_format.write_array_header_1_0(
                        file, npy_format.header_data_from_array_1_0(array)
                    )
                    # Not numpy's own way of writing: that hides why a disk refuses.
                    file.write(array.view(np.uint8).data)
                    # Here, where nobody waits for it: committing then finds little left to do.
                    file.flush()
                    os.fsync(file.fileno())
                line[f"{name}_sha256"] = files.file_digest(temporary / f"{name}.npy")
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            size = self.frames.nbytes + self.steps.nbytes
            raise DatasetError(
                f"A shard of {size:,} bytes could not be written to {temporary.parent}: {error}",
                expected=f"{size:,} bytes of room",
                got=type(error).__name__,
                remedy="make room, then run the same command again: what was committed stays",
            ) from error
        return line


def commit_shard(folder: Path, shard: int, temporary: Path, line: Mapping[str, Any]) -> None:
    """Put a written shard into its place and acknowledge it. Only the lock's holder calls this.

    Raises:
        DatasetError: where the disk refuses.
    """
    target = shard_path(folder, shard)
    try:
        shutil.rmtree(target, ignore_errors=True)  # renamed by a run that died before its line
        files.rename_folder(temporary, target)
        files.append_line(folder / "manifest.jsonl", {"shard": shard, **line})
    except OSError as error:
        raise DatasetError(
            f"Shard {shard} ({line['rows']} frames) could not be committed to {folder}: {error}",
            expected="a disk that takes it",
            got=type(error).__name__,
            remedy="make room, then run the same command again: what was committed stays",
        ) from error


def check_shard(folder: Path, header: DatasetHeader, line: Mapping[str, Any]) -> None:
    """Read every byte of a shard and compare it with its line in the manifest.

    Raises:
        DatasetError: naming the first file that is not what was written, or holds no episodes.
    """
    _, steps = _map_shard(folder, header, line)
    for name in ("frames", "steps"):
        path = shard_path(folder, line["shard"]) / f"{name}.npy"
        got = files.file_digest(path)
        if got != line[f"{name}_sha256"]:
            raise DatasetError(
                f"{path} is damaged.",
                expected=f"SHA-256 {line[f'{name}_sha256']}",
                got=got,
                remedy=_AGAIN,
            )
    begins, step, episode = steps["step"] == 0, steps["step"], steps["episode"]
    goes_on = (step[1:] == step[:-1] + 1) & (episode[1:] == episode[:-1])
    goes_on &= ~(steps["terminated"] | steps["truncated"])[:-1]
    if not (begins[0] and np.all(begins[1:] | goes_on)):
        raise DatasetError(
            f"{path} is damaged.",
            expected="episodes, each from step 0 on, that end where they end",
            got="steps in another order",
            remedy=_AGAIN,
        )


def _map_shard(
    folder: Path, header: DatasetHeader, line: Mapping[str, Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Frames and steps of a shard as memory maps, of the right shapes and types."""
    at, rows = shard_path(folder, line["shard"]), line["rows"]
    frames = _map(folder, at / "frames.npy", (rows, *header.spec.shape), np.dtype(np.uint8))
    return frames, _map(folder, at / "steps.npy", (rows,), header.step_dtype)


def _map(folder: Path, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        if not path.is_file():  # a pipe would never end
            raise FileNotFoundError("no such file")
        files.check_inside(folder, path)
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what numpy guesses about a damaged header
            # Not np.load, which opens zips and pickles too.
            array = npy_format.open_memmap(path, mode="r")
    except Exception as error:  # numpy's parser of headers raises anything
        raise DatasetError(
            f"{path} is missing or damaged: {error}",
            expected="the shard that manifest.jsonl lists",
            got=type(error).__name__,
            remedy=_AGAIN,
        ) from error
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise _damaged(path, shape, array.shape)
    if path.stat().st_size != array.offset + array.nbytes:
        raise _damaged(path, shape, f"{shape} and bytes behind it")
    return array


def _damaged(path: Path, expected: object, got: object) -> DatasetError:
    return DatasetError(
        f"{path} is damaged.", expected=f"shape {expected}", got=f"shape {got}", remedy=_AGAIN
    )
