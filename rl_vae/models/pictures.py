"""Files of pictures, charts and videos. Images are uint8 RGB, (H, W, 3).

Besides frames.py this is the only module with cv2, for files of pictures and videos.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.system import files


def rgb(frames: UInt8Array) -> UInt8Array:
    """(..., 1 or 3) -> (..., 3): grayscale repeated."""
    return np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames


def enlarge(image: UInt8Array, scale: int) -> UInt8Array:
    """Repeat every pixel of an (H, W, C) image `scale` times each way."""
    return np.repeat(np.repeat(image, scale, axis=0), scale, axis=1)


def save_picture(path: Path, image: UInt8Array) -> None:
    """Write an (H, W, 3) image as PNG."""
    written, content = cv2.imencode(".png", np.ascontiguousarray(rgb(image)[..., ::-1]))
    _check_written(written and path.parent.is_dir(), path)
    files.write_whole(path, content.tobytes())


def as_webp(image: UInt8Array, *, exact: bool = False) -> bytes:
    """Encode an (H, W, 1 or 3) image as WebP, lossless if `exact`, else a quarter of the size."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(rgb(image)).save(content, "webp", lossless=exact, quality=85, method=4)
    return content.getvalue()


def save_video(path: Path, images: Sequence[UInt8Array], *, fps: float = 25.0) -> None:
    """Write (H, W, 3) images as a video: .gif, or .mp4 (VP9, which browsers play).

    Raises:
        ConfigError: if the name has another ending, or this OpenCV cannot write the format.
    """
    if path.suffix == ".gif":
        from PIL import Image

        # One palette for all images, from six of them side by side.
        shown = np.concatenate([images[int(i)] for i in np.linspace(0, len(images) - 1, 6)])
        palette = Image.fromarray(shown).quantize(128, dither=Image.Dither.NONE)
        frames = [
            Image.fromarray(image).quantize(palette=palette, dither=Image.Dither.NONE)
            for image in images
        ]
        rest, each = frames[1:], round(1000 / fps)
        content = io.BytesIO()
        frames[0].save(content, "gif", save_all=True, append_images=rest, duration=each, loop=0)
        files.write_whole(path, content.getbuffer())
        return
    if path.suffix != ".mp4":
        raise ConfigError(
            "Unknown video format.",
            expected=".gif or .mp4",
            got=repr(path.name),
            remedy="give the name one of these endings",
        )
    height, width = images[0].shape[:2]
    height, width = height // 2 * 2, width // 2 * 2  # the codec needs even sides
    codec = cv2.VideoWriter.fourcc(*"vp09")
    with files.whole_file(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), codec, fps, (width, height))
        opened = writer.isOpened()
        for image in images:
            writer.write(np.ascontiguousarray(image[:height, :width, ::-1]))
        writer.release()
        # OpenCV reports no failed write, such as on a full disk.
        _check_written(opened and _count_frames(temporary) == len(images), path)


class Curve(NamedTuple):
    """One line of a chart."""

    x: Sequence[float]
    y: Sequence[float]
    label: str
    """Name in the legend."""


def save_chart(
    path: Path,
    curves: Sequence[Curve],
    *,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Draw curves, and horizontal levels with their names, as PNG or SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes: Any = figure.subplots()
    colours = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
    for curve, colour in zip(curves, colours, strict=False):
        axes.plot(curve.x, curve.y, label=curve.label, color=colour, linewidth=2)
    for (name, level), style in zip((levels or {}).items(), ("--", ":", "-."), strict=False):
        axes.axhline(level, linestyle=style, color="0.35", label=f"{name}: {level:.0f}")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    save_figure(path, figure)


def save_matrix(path: Path, matrix: NDArray[Any], names: Sequence[str], *, title: str) -> None:
    """Draw counts (K, K) as shares of each row; rows are true classes, columns predictions."""
    from matplotlib.figure import Figure

    side = 2.5 + 0.4 * len(names)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes: Any = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            share = float(shares[row, column])
            colour = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("prediction")
    axes.set_ylabel("class")
    axes.set_title(title)
    save_figure(path, figure)


def save_figure(path: Path, figure: Any, scale: int = 1) -> None:
    """Write a figure of matplotlib as .png, .svg or .pdf; `scale` multiplies a PNG's pixels."""
    import matplotlib as mpl

    kind, content = path.suffix[1:] or "png", io.BytesIO()
    # Type 42 fonts, which publishers ask for; equal figures are equal files
    dates: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "rl_vae"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(content, format=kind, dpi=140 * scale, metadata=dates.get(kind))
    files.write_whole(path, content.getbuffer())


def side_by_side(
    image: UInt8Array,
    decoded: UInt8Array,
    *,
    crop: tuple[int, int, int, int] = (0, 0, 0, 0),
    height: int = 192,
) -> UInt8Array:
    """An image, and beside it a reconstruction in the place and proportions of what it shows.

    Args:
        image: (h, w, C) the image.
        decoded: (H, W, C) reconstruction of the image without its cropped edges.
        crop: Pixels that were cut off the image at the top, bottom, left and right. They are gray
            in the reconstruction.
        height: Height of the result in pixels.
    """
    first = at_height(image, height)
    second = np.full_like(first, 225)
    ratio, (h, w) = height / image.shape[0], image.shape[:2]
    top, bottom = round(crop[0] * ratio), round((h - crop[1]) * ratio)
    left, right = round(crop[2] * ratio), round((w - crop[3]) * ratio)
    second[top:bottom, left:right] = _resize(decoded, bottom - top, right - left)
    return np.concatenate([first, second], axis=1)


_INSIDE, _OUTSIDE = (
    (0, 114, 178),
    (213, 94, 0),
)  # blue and vermilion: distinct for colour-blind people


def bars(
    values: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    *,
    height: int = 192,
    reach: float = 4.0,
) -> UInt8Array:
    """Draw one bar per latent, from the middle (0) up to `reach` or down to -`reach`.

    Args:
        values: (Z,) latents; the first 512 are drawn.
        low: (Z,) lower bounds; a bar below is vermilion instead of blue.
        high: (Z,) upper bounds; a bar above is vermilion instead of blue.
        height: Height in pixels.
        reach: Value at the edge of the picture; longer bars are cut.
    """
    shown = values[:512]
    step = max(1, 192 // len(shown))
    picture = np.full((height, step * len(shown), 3), 255, np.uint8)
    middle = height // 2
    ends = np.clip(middle - shown / reach * middle, 0, height).round().astype(int)
    outlier = (shown < low[:512]) | (shown > high[:512])
    for k, end in enumerate(ends):
        # A white line between two bars, if they are wide enough.
        columns = slice(k * step, (k + 1) * step - (step > 2))
        picture[min(middle, end) : max(middle, end), columns] = _OUTSIDE if outlier[k] else _INSIDE
    picture[middle] = 160
    return picture


def watched(
    frame: UInt8Array,
    reconstruction: UInt8Array,
    latents: UInt8Array,
    *,
    height: int = 192,
) -> UInt8Array:
    """A frame, its reconstruction and the bars of its latents side by side, of even width."""
    shown = [at_height(image, height) for image in (frame, reconstruction)]
    both = np.concatenate(shown, axis=1)
    gap = np.full(
        (height, 2 + both.shape[1] % 2, 3), 255, np.uint8
    )  # video codecs need an even width
    return np.concatenate([both, gap, latents], axis=1)


def at_height(image: UInt8Array, height: int) -> UInt8Array:
    """Scale an (H, W, 1 or 3) image to a height in pixels, as RGB."""
    return _resize(image, height, max(1, round(image.shape[1] * height / image.shape[0])))


def _resize(image: UInt8Array, height: int, width: int) -> UInt8Array:
    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_NEAREST
    resized: NDArray[Any] = cv2.resize(
        np.ascontiguousarray(rgb(image)), (width, height), interpolation=method
    )
    return resized.astype(np.uint8)


def _count_frames(path: Path) -> int:
    """Number of frames that can be read from a video."""
    reader, frames = cv2.VideoCapture(str(path)), 0
    while reader.grab():
        frames += 1
    reader.release()
    return frames


def _check_written(written: bool, path: Path) -> None:
    if not written:
        raise ConfigError(
            f"{path} could not be written.",
            expected="a writable folder, and an OpenCV with this format",
            got="no file, or an incomplete file",
            remedy="free disk space, or write a .gif instead of an .mp4",
        )
