"""export_data: a dataset becomes files of another kind."""

from __future__ import annotations

from pathlib import Path

from rl_vae.constraints import check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import FolderError, MissingPackageError, system_remedy
from rl_vae.formats.registry import named_format
from rl_vae.system import files
from rl_vae.system.new_folder import check_absent, new_folder
from rl_vae.system.outputs import output_path


@check_arguments
def export_data(dataset: FrameDataset, out: str | Path, *, format: str) -> Path:
    """Write a dataset in another format: completely, or not at all.

    Args:
        dataset: The frames.
        out: File or folder to write, which must not exist.
        format: "npz", "hdf5", "minari", "mp4", or the name of a format of your own. "mp4" keeps
            the frames nearly, the others keep them exactly.

    Returns:
        The file or folder.

    Raises:
        ConfigError: if there is no such format, or the dataset lacks what it needs.
        DatasetError: if the dataset is not finished.
        FolderError: if `out` exists, or cannot be written.
        MissingPackageError: if the package that writes the format is not installed.
    """
    # Check the request
    chosen, out = named_format(format, "write"), output_path(out)
    assert chosen.write is not None
    dataset.require_complete()
    for field in ("action", "reward") if chosen.needs_steps else ():
        dataset.header.require_recorded(field, f"The format {format}")
    check_absent(out)
    # Write under another name
    try:
        files.make_folder(out.parent)
        if chosen.is_file:
            with files.whole_file(out) as temporary:
                chosen.write(dataset, temporary)
        else:
            with new_folder(out) as new:
                chosen.write(dataset, new)
    except ImportError as error:
        raise MissingPackageError.of(error, f"The format {format}") from error
    except OSError as error:
        raise FolderError(
            f"{out} could not be written: {error}",
            expected="a folder that can be written, on a disk with free space",
            got=type(error).__name__,
            remedy=system_remedy(error, "choose another folder"),
        ) from error
    return out
