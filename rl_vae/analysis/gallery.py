"""Gallery: pictures of what a model reconstructs and draws, and a table of anomalies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from rl_vae.analysis.anomalies import Anomalies, find_anomalies
from rl_vae.constraints import Range, check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import DatasetError, FolderError
from rl_vae.models import pictures
from rl_vae.models.encoder import Encoder
from rl_vae.models.statistics import Scores
from rl_vae.system import files, locks
from rl_vae.system.outputs import output_path

COLUMNS = 12
"""Number of frames in a row."""
MAX_ROWS = 32
"""Largest number of latents that are traversed: those with the largest standard deviation."""


class Gallery(NamedTuple):
    """Result of `draw_gallery`."""

    path: Path
    """The folder of the pictures."""
    shares: dict[str, float]
    """Share of outliers among the dataset's frames, by each score."""


@check_arguments
def draw_gallery(
    encoder: Encoder,
    dataset: FrameDataset,
    out: str | Path,
    *,
    level: float = 0.99,
    seed: Annotated[int, Range(low=0)] = 0,
) -> Gallery:
    """Draw reconstructions, samples, interpolations, traversals and anomalies into a folder.

    reconstructions.png   frames above, their reconstructions below
    samples.png           decoded samples of the prior
    interpolations.png    from one frame to another: on a line, below it on an arc; three pairs
    traversals.png        one latent per row, largest standard deviation first
    anomalies.png         frames with the lowest ELBO above, their reconstructions below
    anomalies.csv         scores of every frame, and whether it is an outlier (0 or 1)

    Args:
        encoder: The model.
        dataset: Frames with the same FrameSpec.
        out: The folder, which is created if it does not exist. Files of these names are replaced.
        level: Quantile of the training frames beyond which a frame is an outlier, as in
            `find_anomalies`.
        seed: Seed of the samples and of the choice of frames.

    Raises:
        ObservationError: if the frames have another FrameSpec.
        ConfigError: if that quantile is not stored in the model folder, or it has no decoder.
        DatasetError: if the dataset has no frames.
        FolderError: if another process writes to the folder, or it cannot be written.
    """
    encoder.check_decoder()
    encoder.check_spec(dataset.spec)
    if len(dataset) == 0:
        raise DatasetError(
            "The dataset has no frames to show.",
            expected="one frame or more",
            got=f"{dataset.path} with 0 frames",
            remedy="collect more frames; rl-vae verify says what is damaged",
        )
    anomalies = _find_all(encoder, dataset, level)
    out = output_path(out)
    files.make_folder(out)
    with files.disk_errors(out), locks.locked(out, FolderError, tree=False):
        _draw(encoder, dataset, out, anomalies, seed)
    return Gallery(out, anomalies.shares)


def _draw(
    encoder: Encoder, dataset: FrameDataset, out: Path, anomalies: Anomalies, seed: int
) -> None:
    """Write the pictures and the table."""
    indices = np.random.default_rng(seed).choice(len(dataset), min(COLUMNS, len(dataset)), False)
    frames = dataset.frames(np.sort(indices))
    pictures.save_picture(
        out / "reconstructions.png", pictures.grid([frames, encoder.reconstruct(frames)])
    )
    samples = encoder.sample(4 * COLUMNS, seed=seed)
    pictures.save_picture(
        out / "samples.png", pictures.grid(list(samples.reshape(4, COLUMNS, *samples.shape[1:])))
    )
    pairs = [(frames[i], frames[-1 - i]) for i in range(min(3, len(frames) // 2))]
    interpolations = [
        encoder.interpolate(first, last, COLUMNS, spherical=spherical)
        for first, last in pairs
        for spherical in (False, True)
    ]
    pictures.save_picture(out / "interpolations.png", pictures.grid(interpolations))
    latents = np.argsort(encoder.statistics.latent_std)[::-1][:MAX_ROWS]
    traversals = [encoder.traverse(frames[0], int(latent), COLUMNS - 1) for latent in latents]
    pictures.save_picture(out / "traversals.png", pictures.grid(traversals))
    outliers = dataset.frames(anomalies.lowest_elbo(COLUMNS))
    pictures.save_picture(
        out / "anomalies.png", pictures.grid([outliers, encoder.reconstruct(outliers)])
    )
    files.write_whole(out / "anomalies.csv", _csv(anomalies).encode())


def _find_all(encoder: Encoder, dataset: FrameDataset, level: float) -> Anomalies:
    """Find anomalies among all frames of a dataset, in batches that fit into memory."""
    batches = [
        find_anomalies(encoder, frames, level=level)
        for frames in dataset.in_batches(np.arange(len(dataset)))
    ]
    scores, outliers = (
        Scores(*(np.concatenate(columns) for columns in zip(*group, strict=True)))
        for group in ([batch.scores for batch in batches], [batch.outliers for batch in batches])
    )
    return Anomalies(scores, outliers)


def _csv(anomalies: Anomalies) -> str:
    """The scores and outliers as CSV, one line per frame."""
    names = Scores._fields
    lines = [",".join(["frame", *names, *(f"outlier_{name}" for name in names)])]
    columns = zip(*anomalies.scores, *anomalies.outliers, strict=True)
    for frame, values in enumerate(columns):
        scores, flags = values[: len(names)], values[len(names) :]
        lines.append(
            ",".join([str(frame), *(f"{v:.4f}" for v in scores), *(f"{v:.0f}" for v in flags)])
        )
    return "\n".join(lines) + "\n"
