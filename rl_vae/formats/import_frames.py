"""import_frames: frames of other files and libraries become a dataset."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from rl_vae.constraints import Range, check_arguments, from_keywords
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.writer import DatasetWriter
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.errors import MissingPackageError
from rl_vae.formats.format import ReadOptions
from rl_vae.formats.registry import find_format
from rl_vae.frames import FrameSpec
from rl_vae.system.progress import progress_bar


@check_arguments
def import_frames(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    spec: FrameSpec | None = None,
    max_episode_steps: Annotated[int, Range(low=1)] | None = None,
    subfolders: Literal["episodes", "labels"] = "episodes",
    keys: Mapping[str, str] | None = None,
    progress: bool = True,
    **pixels: Any,
) -> FrameDataset:
    """Write the frames of a source into a dataset, or continue an interrupted import.

    The source is read in pieces: it may be larger than memory. If it is wrong, nothing is left in
    `out`. After a crash or Ctrl-C the same call goes on.

    Args:
        source: File or folder: a folder of pictures, a video or a folder of videos, .npy, .npz,
            HDF5, the folder of a Minari or LeRobot data set, the files of dSprites and 3D Shapes.
        out: Folder of the dataset. If it holds the same frames, it is returned unchanged.
        format: Name of the format; "auto": found by the source.
        spec: Conversion of an image into a frame; None: 64 x 64, RGB or gray as the images are.
        max_episode_steps: Number of frames after which an episode is cut, as by a time limit.
            A single long recording needs it: parts of a dataset are held out by episodes.
        subfolders: Meaning of the folders in a folder of pictures: an episode each, or a label
            each, of independent pictures.
        keys: Names of arrays in the source, by their names here, such as
            {"images": "observations", "terminated": "terminals"}.
        progress: Whether to show a progress bar on a terminal.
        **pixels: Conversion of the images, the fields of `PixelOptions`: image_key, image_layout,
            value_range, stack_frame, cameras, small_images.

    Raises:
        ConfigError: if an argument is wrong, or the format is not known.
        DatasetError: if the source is damaged; if `out` holds other frames or cannot be written.
        ObservationError: if the images do not fit the spec, or their conversion must be chosen.
        MissingPackageError: if the package that reads the format is not installed.
    """
    path = Path(source)
    options = ReadOptions(subfolders, dict(keys or {}), from_keywords(PixelOptions, pixels))
    # Open the source; then its frames go through the writer, piece by piece
    try:
        chosen = find_format(path, format)
        assert chosen.read is not None
        opened = chosen.read(path, options)
        with contextlib.closing(opened):
            writer = DatasetWriter(
                out,
                spec,
                name=path.resolve().stem,
                description={"format": chosen.name, **opened.description},
                max_episode_steps=max_episode_steps,
                source=opened.image_source,
                **pixels,
            )
            bar = progress_bar(unit="frames", desc=f"importing {path.name}", progress=progress)
            with writer, bar:
                writer.add_all(opened.records, bar.update)
    except MissingPackageError:
        raise
    except ImportError as error:
        raise MissingPackageError.of(error, f"Importing {path}") from error
    return FrameDataset.open(out)
