"""Codes of a dataset on two axes: what each latent follows, and a map of the codes.

Shape letters: N frames, H W C frame, Z latents, K factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import printable
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.models.encoder import Encoder
from rl_vae.models.model_sheets import latent_label
from rl_vae.training.baselines import evenly_spaced

MAX_FRAMES = 2000
"""Largest number of frames whose codes are shown; they are evenly spaced."""
MAX_PANELS = 5
"""Largest number of factors that the map is coloured by."""
_COLUMNS, _THUMBNAIL, _LONGEST, _BORDER = 14, 48, 20, 190

Array = NDArray[np.float64]


class Codes(NamedTuple):
    """Codes of some frames of a dataset."""

    rows: NDArray[np.int64]
    """(N,) indices of the frames."""
    mu: Array
    """(N, Z) means."""
    kl: Array
    """(Z,) mean KL of each latent in nats."""
    columns: Mapping[str, Array]
    """(N,) values of each factor that varies; without any, the step in the episode."""
    has_factors: bool
    """Whether the columns are factors."""

    def label(self, latent: int) -> str:
        """Label of a latent: number, KL, and the factor with the largest squared correlation."""
        factor = ""
        if self.has_factors:
            names, values = list(self.columns), np.stack(list(self.columns.values()), axis=1)
            squares = _squared_correlations(self.mu[:, latent], values)
            best = int(squares.argmax())
            name = printable(names[best])
            short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
            factor = f"{short}: r² {squares[best]:.2f}"
        return latent_label(latent, float(self.kl[latent]), factor)


def encode_codes(encoder: Encoder, dataset: FrameDataset) -> Codes:
    """Encode at most 2,000 evenly spaced frames of a dataset."""
    rows = evenly_spaced(np.arange(len(dataset)), MAX_FRAMES)
    parts = [encoder.encode_posterior(frames) for frames in dataset.in_batches(rows)]
    mu, logvar = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    steps = dataset.steps(rows)
    names, table = dataset.header.factor_names, steps["factors"].reshape(len(rows), -1)
    columns = {
        name: values.astype(np.float64)
        for name, values in zip(names, table.T, strict=True)
        if np.ptp(values) > 0
    }
    return Codes(
        rows,
        mu,
        (0.5 * (mu**2 + np.exp(logvar) - logvar - 1)).mean(axis=0),
        columns or {"step in the episode": steps["step"].astype(np.float64)},
        bool(columns),
    )


def draw_code_map(path: Path, codes: Codes, dataset: FrameDataset, scale: int) -> None:
    """Draw the first two principal components of codes: frames, then colours of each factor.

    Args:
        path: The picture: .png, .svg or .pdf.
        codes: The codes.
        dataset: Their dataset.
        scale: Number that multiplies the resolution of a PNG.
    """
    from matplotlib.figure import Figure

    # Principal components
    centred = codes.mu - codes.mu.mean(axis=0)
    _, sizes, axes_of_code = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(centred), 2))
    first_two = centred @ axes_of_code[:2].T
    places[:, : first_two.shape[1]] = first_two
    total = float((sizes**2).sum()) or 1.0
    labels = [f"component {k + 1} ({s:.0%} of the variance)" for k, s in
              enumerate([*(sizes**2 / total), 0.0][:2])]  # fmt: skip

    # Panels
    shown = list(codes.columns.items())[:MAX_PANELS]
    n_columns = min(3, 1 + len(shown))
    n_rows = -(-(1 + len(shown)) // n_columns)
    figure = Figure(figsize=(4.6 * n_columns, 3.9 * n_rows), layout="constrained")
    panels: list[Any] = list(np.ravel(figure.subplots(n_rows, n_columns, squeeze=False)))
    for panel in panels[1 + len(shown) :]:
        panel.set_axis_off()
    _draw_thumbnails(panels[0], places, dataset, codes.rows)
    panels[0].set_title(f"frames, {len(places):,} codes", parse_math=False)
    for panel, (name, values) in zip(panels[1:], shown, strict=False):
        points = panel.scatter(*places.T, c=values, s=9, cmap="viridis", linewidths=0)
        figure.colorbar(points, ax=panel)
        panel.set_title(f"colour: {printable(name)}", parse_math=False)
    for panel in panels[: 1 + len(shown)]:
        panel.set_xlabel(labels[0])
        panel.set_ylabel(labels[1])
    pictures.save_figure(path, figure, scale)


def _draw_thumbnails(
    panel: Any, places: Array, dataset: FrameDataset, rows: NDArray[np.int64]
) -> None:
    """Draw frames on a grid: in each cell the frame that is nearest to its middle."""
    height, width, _ = dataset.spec.shape
    n_rows = max(1, round(_COLUMNS * width / height * 0.8))
    cells = np.array([_COLUMNS, n_rows])
    low = places.min(axis=0)
    span = np.where(np.ptp(places, axis=0) > 0, np.ptp(places, axis=0), 1.0)
    at = np.minimum((places - low) / span * cells, cells - 1e-6)  # (N, 2)
    distance = np.abs(at % 1 - 0.5).max(axis=1)
    nearest: dict[tuple[int, int], int] = {}
    for k in np.argsort(-distance, kind="stable"):
        column, row = at[k].astype(int)
        nearest[int(column), int(row)] = int(k)
    chosen = sorted(nearest.items(), key=lambda item: item[1])
    frames: UInt8Array = dataset.frames(rows[[k for _, k in chosen]])
    small = [pictures.at_height(frame, min(height, _THUMBNAIL)) for frame in frames]
    tall, wide = small[0].shape[:2]
    canvas = np.full((n_rows * tall, _COLUMNS * wide, 3), 255, np.uint8)
    for ((column, row), _), image in zip(chosen, small, strict=True):
        top = (n_rows - 1 - row) * tall
        canvas[top : top + tall, column * wide : (column + 1) * wide] = _BORDER
        canvas[top : top + tall - 1, column * wide : (column + 1) * wide - 1] = image[:-1, :-1]
    panel.imshow(
        canvas,
        extent=(low[0], low[0] + span[0], low[1], low[1] + span[1]),
        aspect="auto",
        interpolation="antialiased",
    )
    panel.set_box_aspect(canvas.shape[0] / canvas.shape[1])


def _squared_correlations(values: Array, columns: Array) -> Array:
    """(K,) squared correlations of values (N,) with columns (N, K), none of which is constant."""
    x, y = values - values.mean(), columns - columns.mean(axis=0)
    product = (x[:, None] * y).sum(axis=0) ** 2
    squares: Array = product / np.maximum((x**2).sum() * (y**2).sum(axis=0), 1e-300)
    return squares
