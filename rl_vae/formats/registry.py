"""The formats by name, in the order in which a source is compared with them."""

from __future__ import annotations

from pathlib import Path

from rl_vae.errors import ConfigError
from rl_vae.formats import (
    arrays,
    dsprites,
    hdf5,
    lerobot,
    minari_folder,
    pictures,
    shapes3d,
    videos,
)
from rl_vae.formats.format import Format

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        dsprites.FORMAT,
        arrays.FORMAT,
        shapes3d.FORMAT,
        hdf5.FORMAT,
        minari_folder.FORMAT,
        lerobot.FORMAT,
        videos.FORMAT,
        pictures.FORMAT,
        videos.MP4,
    )
}


def register_format(format: Format) -> None:
    """Add a format of one's own, which is then compared with a source before all others.

    Raises:
        ConfigError: if the name is taken.
    """
    if format.name in FORMATS:
        raise ConfigError(
            f"There is a format {format.name!r} already.",
            expected="a new name",
            got=repr(format.name),
            remedy="choose another name",
        )
    others = dict(FORMATS)
    FORMATS.clear()
    FORMATS.update({format.name: format, **others})


def find_format(path: Path, name: str) -> Format:
    """The format of a source.

    Args:
        path: The file or folder.
        name: Name of the format; "auto": the first one that the source looks like.

    Raises:
        ConfigError: if there is no such source or format, or none matches.
    """
    if not path.exists():
        raise ConfigError(
            f"There is no {path}.",
            expected="a file or folder of frames",
            got="no such path",
            remedy="check the path",
        )
    if name != "auto":
        return named_format(name, "read")
    for format in FORMATS.values():
        if format.read is not None and format.matches(path):
            return format
    readers = ", ".join(f"{f.name} ({f.summary})" for f in FORMATS.values() if f.read)
    what = "an empty folder" if path.is_dir() and not any(path.iterdir()) else str(path.name)
    raise ConfigError(
        f"The format of {path} is not known.",
        expected=readers,
        got=what,
        remedy="name the file or folder with the frames, or choose format=",
    )


def named_format(name: str, use: str) -> Format:
    """A format by its name.

    Args:
        name: Its name.
        use: "read" or "write".

    Raises:
        ConfigError: if there is none that can be used so.
    """
    fitting = [format.name for format in FORMATS.values() if getattr(format, use) is not None]
    if name not in fitting:
        raise ConfigError(
            f"There is no format {name!r} to {use}.",
            expected=f"one of {', '.join(fitting)}",
            got=repr(name),
            remedy="check the spelling",
        )
    return FORMATS[name]
