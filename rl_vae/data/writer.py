"""DatasetWriter: write frames of one's own into a dataset, episode by episode.

Shape letters: N frames, A shape of an action.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_vae.constraints import Range, check_arguments, from_keywords
from rl_vae.data.folder import check_folder, locked_folder
from rl_vae.data.header import check_storable, read_header
from rl_vae.data.import_header import describe_import, find_image_source
from rl_vae.data.records import Records, array_records
from rl_vae.data.shard_writer import ShardWriter, count_steps
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.errors import (
    ConfigError,
    DatasetError,
    ObservationError,
    RlVaeError,
    system_failure,
)
from rl_vae.frames import FrameSpec
from rl_vae.system import files
from rl_vae.system.outputs import output_path


class DatasetWriter:
    """Writes episodes into a dataset. Make one with `FrameDataset.create(path)`.

    Frames go to the disk in shards of up to 4,096 frames or 64 MiB; a full shard is committed and
    survives a crash. The last one is committed at the end of the `with` block, and only then is the
    dataset finished. If the block is left by an exception, the committed shards stay, and the same
    program continues: frames that are there already are compared, not written again.

    Args:
        path: Folder of the dataset: new, empty, or an unfinished dataset of the same frames.
        spec: Conversion of an image into a frame; None: 64 x 64, RGB or gray as the images are.
        name: Name of the frames, for titles and messages.
        description: What is known of their source, in plain JSON values.
        max_episode_steps: Number of frames after which an episode is cut, as by a time limit.
        source: Conversion of images that is known; None: found from the first images.
        **pixels: How images are converted if they are not uint8 of height x width x channels: the
            fields image_layout, stack_frame, value_range and small_images of `PixelOptions`.

    Raises:
        ConfigError: if an argument is out of range.
    """

    @check_arguments
    def __init__(
        self,
        path: str | Path,
        spec: FrameSpec | None = None,
        *,
        name: str = "imported frames",
        description: Mapping[str, Any] | None = None,
        max_episode_steps: Annotated[int, Range(low=1)] | None = None,
        source: PixelSource | None = None,
        **pixels: Any,
    ) -> None:
        self.path, self._spec, self._name = output_path(path), spec, name
        self._description, self._most_steps = dict(description or {}), max_episode_steps
        self._source, self._options = source, from_keywords(PixelOptions, pixels)
        check_storable(self._description, {}, 0)
        self._open, self._is_new = contextlib.ExitStack(), False
        self._shards: ShardWriter | None = None
        self._image: tuple[Any, ...] = ()
        self._step, self._episode, self._ended = -1, -1, True
        self.n_frames = 0
        """Number of frames that were added."""

    @property
    def n_episodes(self) -> int:
        """Number of episodes that were added."""
        return self._episode + 1

    def __enter__(self) -> Self:
        check_folder(self.path, None)
        self._existed = self.path.is_dir()
        self._open.enter_context(locked_folder(self.path))
        self._is_new = read_header(self.path) is None
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._open:
            if self._shards is None or (kind is not None and not self._shards.n_committed):
                self.discard()
            if kind is not None:
                return
            if self._shards is None:
                raise DatasetError(
                    f"Nothing was written to {self.path}.",
                    expected="one frame or more",
                    got="no frame",
                    remedy="add an episode before the end of the block",
                )
            self._shards.finish()

    @check_arguments
    def add_episode(
        self,
        images: Any,
        *,
        actions: Any = None,
        rewards: Any = None,
        terminated: bool = False,
        truncated: bool = False,
        factors: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one episode. All episodes record the same.

        Args:
            images: (N, ...) images of one shape; an array on disk is read in pieces.
            actions: (N, *A) action taken at each image.
            rewards: (N,) reward of each action.
            terminated: Whether the environment ended the episode.
            truncated: Whether a time limit ended the episode.
            factors: (N,) numbers that describe each image, by name.

        Raises:
            ConfigError: if the arrays do not fit together, or not the earlier episodes.
            ObservationError: if the images do not fit the spec, or their conversion must be chosen.
            DatasetError: if a shard cannot be written, or the folder holds other frames.
        """
        n = len(images)
        ends = np.zeros((2, n), np.bool_)
        ends[:, -1:] = [[terminated], [truncated]]
        numbers = np.zeros(n, np.int64)
        pieces = array_records(
            images,
            actions=actions,
            rewards=rewards,
            terminated=ends[0],
            truncated=ends[1],
            episodes=numbers,
            factors=factors,
        )
        for records in pieces:
            self.add(records)

    def add_all(
        self, source: Iterable[Records], update: Callable[[int], Any] = lambda rows: None
    ) -> None:
        """Append all frames of a source. If the source is wrong, a new folder is deleted again.

        Args:
            source: The frames.
            update: Called with the number of new frames.

        Raises:
            ConfigError, ObservationError, DatasetError: as `add_episode` does.
        """
        try:
            for records in source:
                self.add(records)
                update(len(records.is_first))
        except RlVaeError as error:
            if system_failure(error) is None:  # after a full disk the committed shards are good
                self.discard()
            raise

    def add(self, records: Records) -> None:
        """Append frames, which may go on with the last episode.

        Raises:
            ConfigError, ObservationError, DatasetError: as `add_episode` does.
        """
        # Convert the images
        if self._shards is None:
            self._shards = self._begin(records)
        header, source = self._shards.header, self._source
        assert source is not None
        if source.paths == ((),):
            self._check_images(records.images)
        frames = header.spec.apply_batch(source.apply_batch(records.images))

        # Number the steps, and check the ends
        n = len(records.is_first)
        steps = np.zeros(n, header.step_dtype)
        numbers = count_steps(records.is_first, self._step, self._episode, self._most_steps)
        steps["step"], steps["episode"] = numbers
        for name, flags in (("terminated", records.terminated), ("truncated", records.truncated)):
            if flags is not None:
                steps[name] = flags
        if self._most_steps is not None:
            steps["truncated"] |= (steps["step"] == self._most_steps - 1) & ~steps["terminated"]
        ended = steps["terminated"] | steps["truncated"]
        _check_ends(np.append(self._ended, ended[:-1]), steps["step"], self.n_frames)

        # Actions, rewards and factors
        self._check_recorded(records)
        if records.actions is not None:
            steps["action"] = self._check_actions(records.actions)
        if records.rewards is not None:
            steps["reward"] = records.rewards
        for k, name in enumerate(header.factor_names):
            assert records.factors is not None
            steps["factors"][:, k] = records.factors[name]
        self._shards.add(frames, steps)
        self._step, self._episode = int(steps["step"][-1]), int(steps["episode"][-1])
        self._ended, self.n_frames = bool(ended[-1]), self.n_frames + n

    def discard(self) -> None:
        """Delete what was written, if the folder was new."""
        if not self._is_new:
            return
        self._is_new = False
        for path in self.path.iterdir():
            files.remove_folder(path) if path.is_dir() else files.remove_file(path)
        if not self._existed:
            files.remove_folder(self.path)

    def _begin(self, records: Records) -> ShardWriter:
        """Describe the dataset by its first frames, and write the header."""
        if self._source is None:
            self._image = (np.shape(records.images)[1:], records.images.dtype)
            self._source = find_image_source(*self._image, self._options)
        header = replace(
            describe_import(self._source, self._spec, records),
            env_id=self._name,
            env_kwargs=self._description,
            max_episode_steps=self._most_steps,
        )
        return ShardWriter(self.path, header)

    def _check_images(self, images: Any) -> None:
        image = (np.shape(images)[1:], images.dtype)
        if self._image and image != self._image:
            raise ObservationError(
                f"Image {self.n_frames} differs from the images before it.",
                expected=f"{self._image[1]}, shape {self._image[0]}",
                got=f"{image[1]}, shape {image[0]}",
                remedy="convert all images to one size and type before",
            )

    def _check_recorded(self, records: Records) -> None:
        """Check that these frames have what the first ones have."""
        assert self._shards is not None
        header = self._shards.header
        first = [name for name in ("action", "reward") if name not in header.missing]
        here = [
            *(["action"] if records.actions is not None else []),
            *(["reward"] if records.rewards is not None else []),
        ]
        first, here = [*first, *header.factor_names], [*here, *(records.factors or ())]
        if sorted(first) != sorted(here):
            raise ConfigError(
                f"What is recorded changes at image {self.n_frames}.",
                expected=f"for every image: {', '.join(first) or 'nothing'}",
                got=", ".join(here) or "nothing",
                remedy="give the same for every episode",
            )

    def _check_actions(self, actions: NDArray[Any]) -> ArrayLike:
        assert self._shards is not None
        header = self._shards.header
        fits = np.can_cast(actions.dtype, header.action_dtype, "safe")
        if actions.shape[1:] != header.action_shape or not fits:
            raise ConfigError(
                f"The actions change at image {self.n_frames}.",
                expected=f"{header.action_dtype}, shape {header.action_shape}",
                got=f"{actions.dtype}, shape {actions.shape[1:]}",
                remedy="give actions of one shape and type for every episode",
            )
        return actions


def _check_ends(ended_before: NDArray[np.bool_], step: NDArray[np.int32], first: int) -> None:
    """Check that an episode begins after each end."""
    wrong = np.flatnonzero(ended_before & (step != 0))
    if len(wrong):
        raise ConfigError(
            "An episode goes on after its end.",
            expected="terminated and truncated at the last image of an episode only",
            got=f"an end at image {first + int(wrong[0]) - 1}, and the same episode after it",
            remedy="correct the ends, or the numbers of the episodes",
        )
