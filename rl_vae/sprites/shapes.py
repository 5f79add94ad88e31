"""Geometry of sprites: which pixels a sprite covers.

A sprite is a white square, ellipse or heart on black, 64 x 64 pixels. The images are drawn here
from their geometry; nothing is downloaded. They are not the images of dSprites (Matthey et al.
2017), but have the same grid of factors:

    shape        3    0 square, 1 ellipse, 2 heart
    scale        6    s = .5, .6, ... 1
    orientation  40   theta = 2 pi k / 39; the last orientation equals the first
    position_x   32   centre at 16 + 32 k / 31 pixels from the left edge
    position_y   32   centre at 16 + 32 k / 31 pixels from the upper edge

Coordinates are in pixels, x to the right and y downwards. Pixel (row i, column j) is on if its
centre (j + .5, i + .5) lies in the shape. With (dx, dy) = that point minus the shape's centre, the
point in the coordinates of the shape is

    u = (dx cos theta - dy sin theta) / s,    v = (dx sin theta + dy cos theta) / s

(the shape is rotated by minus theta), and it lies in the shape if

    square   |u| <= 9.6 and |v| <= 9.6
    ellipse  (u / 12.8)^2 + (v / 7.2)^2 <= 1
    heart    it is enclosed by x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, with x
             scaled to u from -9.6 to 9.6 and y to v from -9.3 (the tip) to 9.8 (the lobes)

Of the 737,280 images 715,780 are distinct (benchmarks/check_sprites.py counts them):

    18,432   repeat orientation 0 at 2 pi
     3,068   equal an image that differs in orientation only, by a nearly symmetric rotation: a
             square after 10, 19, 20 or 29 steps, an ellipse after 19 or 20 steps, no heart

Shape letters: N images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rl_vae.errors import ConfigError

SIDE = 64
"""Height and width of an image, in pixels."""

FACTOR_NAMES = ("shape", "scale", "orientation", "position_x", "position_y")
"""Names of the factors, in the order of their columns."""
FACTOR_SIZES = (3, 6, 40, 32, 32)
"""Number of values of each factor."""

_WINDOW = 28
"""Side of a square of pixels around a sprite: no shape extends beyond 9.6 sqrt(2) = 13.6 pixels."""
_CHUNK = 128
"""Number of images that are drawn together: their arrays fit into the processor's cache."""
_TIP = -17.0
"""Lowest y of the heart's curve, at t = pi."""
_LOBE = float(np.polyval((-8, -8, -2, 19, 4), max(np.roots((-32, -24, -4, 19)).real)))
"""Highest y of the heart's curve: y = 4 + 19 c - 2 c^2 - 8 c^3 - 8 c^4 with c = cos t has its
maximum at a root of the derivative."""
_HEART = (_LOBE - _TIP) / (9.8 + 9.3)
"""Units of the curve's y per pixel."""


def centre(position: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the pixel coordinate of grid positions 0 to 31: 16 + 32 k / 31 from the edge."""
    return 16 + 32 * position / 31


def draw_sprites(factors: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return the pixels that sprites cover.

    Args:
        factors: (N, 5) integers, indices on the grid: shape, scale, orientation, position_x,
            position_y.

    Returns:
        (N, 64, 64) masks, rows from top to bottom.

    Raises:
        ConfigError: if a factor is not on the grid.
    """
    factors = check_factors(factors)
    masks = np.zeros((len(factors), SIDE, SIDE), np.bool_)
    # Sort by shape, so that a chunk has one shape.
    order = np.argsort(factors[:, 0], kind="stable")
    ends = np.cumsum(np.bincount(factors[:, 0], minlength=3))
    for shape, (start, end) in enumerate(zip([0, *ends[:2]], ends, strict=True)):
        for first in range(start, end, _CHUNK):
            chunk = order[first : min(first + _CHUNK, end)]
            left, top, inside = _window(shape, factors[chunk])
            for image, x, y, window in zip(chunk, left, top, inside, strict=True):
                masks[image, y : y + _WINDOW, x : x + _WINDOW] = window
    return masks


def _window(
    shape: int, factors: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Draw sprites of one shape in a window around each.

    Returns:
        Left and upper edges of the windows, (N,) pixels each, and masks (N, 28, 28).
    """
    _, scale, orientation, *position = factors.T
    s, theta = (5 + scale) / 10, 2 * np.pi * orientation / 39
    cos, sin = (np.cos(theta) / s)[:, None], (np.sin(theta) / s)[:, None]
    # A window starts 14 pixels before the rounded centre. Integer arithmetic rounds exactly.
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
    """Compare y with the two branches of the curve at each x.

    x = 16 sin^3 t gives C = cos^2 t = 1 - (x / 16)^(2/3). The branches are
    y = 4 - 2 C - 8 C^2 -/+ sqrt(C) (19 - 8 C). For |x| > 16, C is negative and no y fulfils this.
    """
    c = 1 - np.cbrt((u / 9.6) ** 2)
    y = (v + 9.3) * _HEART + _TIP
    inside: NDArray[np.bool_] = (y - (4 - 2 * c - 8 * c * c)) ** 2 <= c * (19 - 8 * c) ** 2
    return inside


_INSIDE = (_square, _ellipse, _heart)


def check_factors(factors: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return factors as (N, 5) int64.

    Raises:
        ConfigError: if they are not indices on the grid.
    """
    array = np.asarray(factors)
    right_shape = array.ndim == 2 and array.shape[1] == len(FACTOR_SIZES)
    if right_shape and np.issubdtype(array.dtype, np.integer):
        if ((array >= 0) & (array < FACTOR_SIZES)).all():
            return array.astype(np.int64)
        low, high = array.min(axis=0).tolist(), array.max(axis=0).tolist()
        got = f"values from {low} to {high}"
    else:
        got = f"{array.dtype}, shape {array.shape}"
    raise ConfigError(
        "The factors are not on the grid of sprites.",
        expected=f"integers of shape (N, 5): {', '.join(FACTOR_NAMES)} below {FACTOR_SIZES}",
        got=got,
        remedy="draw them with Sprites().sample_factors",
    )
