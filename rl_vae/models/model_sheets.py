"""Sheets of what a model decodes: reconstructions, samples, interpolations and traversals.

Shape letters: N frames, S steps, H W C frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rl_vae.frames import UInt8Array
from rl_vae.models.pictures import rgb
from rl_vae.models.sheets import Row, Sheet, Texts, heat


def reconstruction_sheet(
    frames: UInt8Array,
    decoded: UInt8Array,
    title: str = "",
    *,
    numbers: Sequence[int] | NDArray[np.integer] = (),
    notes: Texts | None = None,
) -> Sheet:
    """Frames above their reconstructions, with the root mean square error of each.

    Args:
        frames: (N, H, W, C) frames.
        decoded: (N, H, W, C) their reconstructions.
        title: Title of the sheet.
        numbers: (N,) numbers of the frames in the dataset.
        notes: Texts below the real frames.
    """
    errors = (frames.astype(np.float64) - decoded) ** 2
    texts = [f"{error:.1f}" for error in np.sqrt(errors.mean(axis=(1, 2, 3)))]
    return Sheet(
        [Row(frames, "real", notes), Row(decoded, "decoded", Texts("error, of 255", texts))],
        title,
        heading=Texts("frame", [str(number) for number in numbers]) if len(numbers) else None,
    )


def sample_sheet(samples: UInt8Array, columns: int, title: str) -> Sheet:
    """Decoded samples (N, H, W, C) in rows of some columns."""
    starts = range(0, len(samples), columns)
    return Sheet([Row(samples[start : start + columns]) for start in starts], title)


def interpolation_sheet(rows: Mapping[str, UInt8Array], title: str) -> Sheet:
    """Frames (S, H, W, C) between two others; the keys are the labels of the rows."""
    steps = len(next(iter(rows.values())))
    heading = Texts("share of the way", [f"{t:.0%}" for t in np.linspace(0, 1, steps)])
    return Sheet([Row(frames, label) for label, frames in rows.items()], title, heading)


def traversal_sheet(rows: Mapping[str, UInt8Array], values: Sequence[str], title: str) -> Sheet:
    """One latent changes in each row; at its end is what moved.

    Args:
        rows: (S, H, W, C) frames of each row; the keys are the labels of the rows.
        values: (S,) values of the latent, as texts.
        title: Title of the sheet.
    """
    shown = []
    for label, frames in rows.items():
        shown.append(Row(np.concatenate([rgb(frames), range_of(frames)[None]]), label))
    groups = [("one latent changes, the others stay", len(values)), ("moved", 1)]
    return Sheet(shown, title, Texts("latent", values), groups, ("0", "255"))


def range_of(frames: UInt8Array) -> UInt8Array:
    """What moved in frames (S, H, W, C): (H, W, 3), from white, 0, to dark blue, 255.

    It is the largest minus the smallest value of each pixel, in the channel in which that is most.
    """
    return heat(np.ptp(frames.astype(np.float64), axis=0).max(axis=-1) / 255)


def latent_label(latent: int, kl: float | None = None, factor: str = "") -> str:
    """Label of a latent: its number, its KL in nats, and the factor that it follows."""
    nats = "" if kl is None else f"\nKL {kl:.2f} nats"
    return f"z{latent}{nats}" + (f"\n{factor}" if factor else "")


def signed(value: float, unit: str = "") -> str:
    """A value of a latent with its sign, such as "+1.2" or "−1.2σ"; a minus as wide as a plus."""
    return "0" if abs(value) < 0.05 else f"{value:+.1f}{unit}".replace("-", "−")
