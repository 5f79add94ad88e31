"""The folder of a Minari data set: read and written through the package minari.

Minari keeps one observation more than actions. The last one, at which no action was taken, is not
imported; an export repeats the last frame in its place. Factors lie in `infos`, under `factors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.header import DatasetHeader
from rl_vae.data.records import Records, array_records, cut_records
from rl_vae.envs.find_pixels import resolve_pixels
from rl_vae.envs.pixel_source import PixelSource, take
from rl_vae.errors import DatasetError
from rl_vae.formats.format import Format, ReadOptions, Source, nest_images, readable
from rl_vae.formats.steps import step_arrays

_DATA = "data"
"""Folder of the episodes in the folder of a data set."""
_ID = "rl_vae/frames-v0"
"""Name of an exported data set; its folder may have another one."""
_PIECE = 256
"""Number of frames of an episode that are converted together."""


def is_minari(path: Path) -> bool:
    """Whether a folder is that of a Minari data set."""
    return (path / _DATA / "metadata.json").is_file()


def read_minari(path: Path, options: ReadOptions) -> Source:
    """Open the folder of a Minari data set. One episode at a time is in memory.

    Raises:
        DatasetError: if it is damaged, or has no pixels.
        ObservationError: if the image is ambiguous, or its conversion must be chosen.
    """
    from minari import MinariDataset

    with readable(path, "the folder of a Minari data set"):
        dataset = MinariDataset(path / _DATA)
        space = dataset.observation_space
    source = resolve_pixels(path.name, space, options.pixels)
    if source is None or not isinstance(dataset.action_space, _ACTIONS):
        raise DatasetError(
            f"{path} cannot be imported.",
            expected="images among the observations, and actions that are numbers or one array",
            got=f"observations {space}, actions {dataset.action_space}",
            remedy="record a data set with images in the observation",
        )
    description = {"dataset_id": str(dataset.id)}
    return Source(_episodes(path, dataset, source), description, source)


_ACTIONS = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)


def _episodes(path: Path, dataset: Any, source: PixelSource) -> Iterator[Records]:
    with readable(path, "the folder of a Minari data set"):
        episodes = dataset.iterate_episodes()
    while True:
        with readable(path, "whole episodes of Minari"):
            episode = next(episodes, None)
        if episode is None:
            return
        # One observation more than actions; containers are batched by entry
        n = len(episode.rewards)
        factors = (episode.infos or {}).get("factors", {}) if episode.infos else {}
        arrays = {
            "actions": episode.actions,
            "rewards": episode.rewards,
            "terminated": episode.terminations,
            "truncated": episode.truncations,
            "episodes": np.zeros(n, np.int64),
            "factors": {name: np.asarray(values)[:n] for name, values in factors.items()},
        }
        images = [np.asarray(take(episode.observations, camera)) for camera in source.paths]
        (records,) = array_records(np.zeros((n, 1), np.uint8), **arrays)
        for start in range(0, n, _PIECE):
            rows = slice(start, min(n, start + _PIECE))
            pieces = [image[rows] for image in images]
            yield cut_records(records, rows, nest_images(source, pieces))


def write_minari(dataset: FrameDataset, out: Path) -> None:
    """Write a dataset as the folder of a Minari data set, without loss."""
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    header = dataset.header
    frame_space = spaces.Box(0, 255, dataset.spec.shape, np.uint8)
    storage = MinariStorage.new(
        out / _DATA, frame_space, _action_space(dataset, header), jpeg_encoding=False
    )
    storage.update_metadata({"dataset_id": _ID, "minari_version": version("minari")})
    for number, episode in enumerate(dataset.episodes):
        rows = np.arange(episode.start, episode.start + episode.length)
        arrays = step_arrays(dataset, rows)
        repeated = np.append(rows, rows[-1])
        factors = {
            name.removeprefix("factors/"): values[repeated - rows[0]]
            for name, values in arrays.items()
            if name.startswith("factors/")
        }
        buffer = EpisodeBuffer(
            id=number,
            observations=list(dataset.frames(repeated)),
            actions=list(arrays["actions"]),
            rewards=list(arrays["rewards"]),
            terminations=list(arrays["terminated"]),
            truncations=list(arrays["truncated"]),
            infos={"factors": {name: list(values) for name, values in factors.items()}},
        )
        storage.update_episodes([buffer])


def _action_space(dataset: FrameDataset, header: DatasetHeader) -> spaces.Space[Any]:
    """A space of the actions: the dataset knows their shape and type, not their bounds."""
    dtype = np.dtype(header.action_dtype)
    if header.action_shape == () and dtype.kind in "iu":
        actions = dataset.steps()["action"]
        low = min(0, int(actions.min()))
        return spaces.Discrete(int(actions.max()) + 1 - low, start=low)
    if dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, header.action_shape, dtype)
    if dtype.kind == "b":
        return spaces.MultiBinary(header.action_shape or 1)
    limits = np.iinfo(dtype)
    return spaces.Box(limits.min, limits.max, header.action_shape, dtype)


FORMAT = Format(
    "minari",
    "the folder of a Minari data set",
    is_minari,
    read_minari,
    write_minari,
    needs_steps=True,
)
