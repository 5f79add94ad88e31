"""Records: consecutive frames and what was recorded at each, on their way into a dataset.

Shape letters: N frames, A shape of an action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_vae.errors import ConfigError

CHUNK_BYTES = 4 * 2**20
"""Bytes of raw images that are read and converted together."""


class Records(NamedTuple):
    """N consecutive frames, and what was recorded at each. None: it was not recorded."""

    images: Any
    """(N, ...) raw images; or the batch of observations that the images are in."""
    is_first: NDArray[np.bool_]
    """(N,) whether an episode begins with the frame."""
    actions: NDArray[Any] | None = None
    """(N, *A) action taken at the frame."""
    rewards: NDArray[Any] | None = None
    """(N,) reward of the action."""
    terminated: NDArray[np.bool_] | None = None
    """(N,) whether the environment ended the episode with the action."""
    truncated: NDArray[np.bool_] | None = None
    """(N,) whether a time limit ended the episode."""
    factors: Mapping[str, NDArray[np.float64]] | None = None
    """(N,) numbers that describe the frame, by name."""


def array_records(
    images: Any,
    *,
    actions: ArrayLike | None = None,
    rewards: ArrayLike | None = None,
    terminated: ArrayLike | None = None,
    truncated: ArrayLike | None = None,
    episodes: ArrayLike | None = None,
    factors: Mapping[str, ArrayLike] | None = None,
) -> Iterator[Records]:
    """Check arrays of N frames, and cut them into pieces of a few MiB.

    The arguments are those of `FrameDataset.from_arrays`. All arrays but the images are in memory.

    Raises:
        ConfigError: if the arrays do not fit together.
    """
    images = _check_images(images)
    n = len(images)
    # Everything beside the images
    ends = [
        None if values is None else _as_flags(name, values, n)
        for name, values in (("terminated", terminated), ("truncated", truncated))
    ]
    columns = {
        name: as_numbers(f"factor {name}", v, n, ndim=1) for name, v in (factors or {}).items()
    }
    recorded = Records(
        None,
        _find_first(n, ends, episodes, actions is not None or rewards is not None),
        None if actions is None else as_numbers("actions", actions, n),
        None if rewards is None else as_numbers("rewards", rewards, n, ndim=1),
        terminated=ends[0],
        truncated=ends[1],
        factors={name: values.astype(np.float64) for name, values in columns.items()},
    )
    # Pieces
    rows = max(1, CHUNK_BYTES // max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize))
    return (
        cut_records(recorded, slice(start, start + rows), images[start : start + rows])
        for start in range(0, n, rows)
    )


def cut_records(records: Records, rows: slice, images: Any) -> Records:
    """Some rows of records, with their images."""
    names = ("actions", "rewards", "terminated", "truncated")
    arrays = {name: getattr(records, name) for name in names}
    return Records(
        images,
        records.is_first[rows],
        **{name: None if values is None else values[rows] for name, values in arrays.items()},
        factors={name: values[rows] for name, values in (records.factors or {}).items()},
    )


def as_numbers(name: str, values: ArrayLike, n: int, ndim: int | None = None) -> NDArray[Any]:
    """Values as an array of N finite numbers, or N arrays of them.

    Args:
        name: Name of the values in an error.
        values: The values.
        n: Number N of frames.
        ndim: Number of axes; None: one or more.

    Raises:
        ConfigError: if they are something else.
    """
    array = np.asarray(values)
    shape = f"{n} numbers" + ("" if ndim == 1 else ", or an array of numbers, for each frame")
    if array.shape[:1] != (n,) or (ndim is not None and array.ndim != ndim):
        raise ConfigError(
            f"The {name} do not fit the images.",
            expected=f"{shape}: one for each of the {n} images",
            got=f"shape {array.shape}",
            remedy="give one value for each image",
        )
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise ConfigError(
            f"The {name} are no numbers.",
            expected=shape,
            got=f"{array.dtype}, such as {array.ravel()[:1].tolist()}",
            remedy="give whole numbers for classes",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array.reshape(n, -1)).all(axis=1))[0])
        raise ConfigError(
            f"The {name} are not finite.",
            expected=shape,
            got=f"{array[row]} at image {row}",
            remedy="fill the gaps, or leave out the images without a value",
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _check_images(images: Any) -> Any:
    """Images that can be sliced and have a shape and a dtype."""
    if not (hasattr(images, "shape") and hasattr(images, "dtype")):
        shapes = {np.shape(image) for image in images}
        if len(shapes) > 1:
            raise ConfigError(
                "The images have different shapes.",
                expected="images of one shape",
                got=f"{sorted(shapes)[:4]}",
                remedy="resize or crop them to one size before",
            )
        images = np.asarray(images)
    if not len(images.shape) or not images.shape[0]:
        raise ConfigError(
            "There are no images.",
            expected="an array of images, the first axis counts them",
            got=f"shape {tuple(images.shape)}",
            remedy="give one image or more",
        )
    return images


def _as_flags(name: str, values: ArrayLike, n: int) -> NDArray[np.bool_]:
    array = as_numbers(name, values, n, ndim=1)
    if not np.isin(array, (0, 1)).all():
        raise ConfigError(
            f"The values of {name} are not true or false.",
            expected="True or False, or 1 or 0, for each image",
            got=f"values from {array.min()} to {array.max()}",
            remedy=f"give {name}=values.astype(bool)",
        )
    return array.astype(np.bool_)


def _find_first(
    n: int,
    ends: list[NDArray[np.bool_] | None],
    episodes: ArrayLike | None,
    is_recording: bool,
) -> NDArray[np.bool_]:
    """Which images begin an episode, (N,)."""
    is_first = np.ones(n, np.bool_)
    # By numbers of episodes
    if episodes is not None:
        number = as_numbers("episodes", episodes, n, ndim=1)
        is_first[1:] = number[1:] != number[:-1]
        if len(np.unique(number)) < is_first.sum():
            raise ConfigError(
                "The images of an episode do not follow each other.",
                expected="episodes one after the other",
                got="a number of an episode that comes again after another one",
                remedy="sort the images by episode and time, or number the episodes anew",
            )
        return is_first
    # By ends
    if any(flags is not None for flags in ends):
        is_first[1:] = np.any([flags for flags in ends if flags is not None], axis=0)[:-1]
        return is_first
    # Images without a sequence
    if is_recording:
        raise ConfigError(
            "It is not said where an episode begins.",
            expected="episodes=, a number for each image; or terminated= and truncated=",
            got="actions or rewards, and neither of them",
            remedy="give episodes=numpy.zeros(N, int) if all images are one recording",
        )
    return is_first
