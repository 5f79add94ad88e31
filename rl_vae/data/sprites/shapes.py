"""The geometry: which pixels a sprite covers.

A white square, ellipse or heart on black, 64 x 64, drawn here from its geometry; nothing is
downloaded, and the pictures are not dSprites' own (Matthey et al. 2017), whose grid they share:

    shape        3    0 square, 1 ellipse, 2 heart
    scale        6    s = .5, .6, ... 1: a similarity
    orientation  40   theta = 2 pi k / 39: the last one is the first one again
    position_x   32   centre at 16 + 32 k / 31 pixels from the left edge
    position_y   32   centre at 16 + 32 k / 31 pixels from the upper edge

Geometry, in pixels, x to the right and y downwards. Pixel (row i, column j) is on where its centre
(j + .5, i + .5) lies in the shape. With (dx, dy) = that point minus the shape's centre, the point
in the shape's own frame is

    u = (dx cos theta - dy sin theta) / s,    v = (dx sin theta + dy cos theta) / s

(the shape is turned by minus theta), and it lies inside where

    square   |u| <= 9.6 and |v| <= 9.6
    ellipse  (u / 12.8)^2 + (v / 7.2)^2 <= 1
    heart    it is enclosed by x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, where x
             is scaled to u from -9.6 to 9.6 and y to v from -9.3 (the tip) to 9.8 (the lobes)

Of the 737,280 pictures 715,780 are distinct (benchmarks/check_sprites.py counts them). 18,432 repeat
orientation 0 at 2 pi. The other 3,068 equal a picture that differs in orientation alone, where a
shape is almost back on itself: a square after 10, 19, 20 or 29 steps (within 2.3 degrees of quarter
turns, or mirrored about the pixels), an ellipse after 19 or 20 (half a turn). No heart does.

Shape letters: N pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError

SIDE = 64
"""Height and width of a picture, in pixels."""

FACTOR_NAMES = ("shape", "scale", "orientation", "position_x", "position_y")
FACTOR_SIZES = (3, 6, 40, 32, 32)
SHAPES = ("square", "ellipse", "heart")

_WINDOW = 28  # no shape reaches further than 9.6 sqrt(2) = 13.6 pixels from its centre
_CHUNK = 128  # pictures at a time: what they need stays in the processor's cache
_TIP = -17.0  # the heart's lowest y, at t = pi
# The highest: y = 4 + 19 c - 2 c^2 - 8 c^3 - 8 c^4 with c = cos t, where its derivative is zero.
_LOBE = float(np.polyval((-8, -8, -2, 19, 4), max(np.roots((-32, -24, -4, 19)).real)))
_HEART = (_LOBE - _TIP) / (9.8 + 9.3)  # units of the curve's y to a pixel


def centre(position: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where grid positions 0 to 31 lie, in pixels from the edge: 16 + 32 k / 31."""
    return 16 + 32 * position / 31


def draw_sprites(factors: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which pixels are on, by the geometry above.

    Args:
        factors: (N, 5) whole numbers: shape, scale, orientation, position_x, position_y.

    Returns:
        (N, 64, 64), rows from top to bottom.

    Raises:
        ConfigError: where a factor is not on the grid.
    """
    factors = check_factors(factors)
    pictures = np.zeros((len(factors), SIDE, SIDE), np.bool_)
    order = np.argsort(factors[:, 0], kind="stable")
    ends = np.cumsum(np.bincount(factors[:, 0], minlength=3))
    for shape, (start, end) in enumerate(zip([0, *ends[:2]], ends, strict=True)):
        for first in range(start, end, _CHUNK):
            which = order[first : min(first + _CHUNK, end)]
            left, top, inside = _window(shape, factors[which])
            for picture, x, y, window in zip(which, left, top, inside, strict=True):
                pictures[picture, y : y + _WINDOW, x : x + _WINDOW] = window
    return pictures


def _window(
    shape: int, factors: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Left and upper edge (N,) of the windows around sprites of one shape, and what is on there."""
    _, scale, orientation, *position = factors.T
    s, theta = (5 + scale) / 10, 2 * np.pi * orientation / 39
    cos, sin = (np.cos(theta) / s)[:, None], (np.sin(theta) / s)[:, None]
    # The window starts 14 pixels before the centre, rounded; in whole numbers, so that it is exact.
    left, top = ((2 * (16 * 31 + 32 * k) + 31) // 62 - _WINDOW // 2 for k in position)
    pixel = np.arange(_WINDOW) + 0.5
    dx = pixel + (left - centre(position[0]))[:, None]  # (N, 28)
    dy = pixel + (top - centre(position[1]))[:, None]
    u = (dx * cos)[:, None, :] - (dy * sin)[:, :, None]  # (N, 28, 28)
    v = (dx * sin)[:, None, :] + (dy * cos)[:, :, None]
    return left, top, _INSIDE[shape](u, v)


def _square(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.maximum(np.abs(u), np.abs(v)) <= 9.6


def _ellipse(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (u / 12.8) ** 2 + (v / 7.2) ** 2 <= 1


def _heart(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Solve x = 16 sin^3 t for C = cos^2 t: at each x, y lies between the curve's two branches.

    They are 4 - 2 C - 8 C^2 -/+ sqrt(C) (19 - 8 C). Where |x| > 16, C is negative and no y is.
    """
    c = 1 - np.cbrt((u / 9.6) ** 2)
    y = (v + 9.3) * _HEART + _TIP
    inside: NDArray[np.bool_] = (y - (4 - 2 * c - 8 * c * c)) ** 2 <= c * (19 - 8 * c) ** 2
    return inside


_INSIDE = (_square, _ellipse, _heart)


def check_factors(factors: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return factors as (N, 5) whole numbers.

    Raises:
        ConfigError: where they are not on the grid.
    """
    array = np.asarray(factors)
    right = array.ndim == 2 and array.shape[1] == len(FACTOR_SIZES)
    if right and np.issubdtype(array.dtype, np.integer):
        if ((array >= 0) & (array < FACTOR_SIZES)).all():
            return array.astype(np.int64)
        low, high = array.min(axis=0).tolist(), array.max(axis=0).tolist()
        got = f"values from {low} to {high}"
    else:
        got = f"{array.dtype}, shape {array.shape}"
    raise ConfigError(
        "These are no factors of sprites.",
        expected=f"whole numbers, (N, 5): {', '.join(FACTOR_NAMES)} below {FACTOR_SIZES}",
        got=got,
        remedy="draw them with Sprites().sample_factors",
    )
