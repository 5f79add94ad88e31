"""Gallery: what a trained model can do, as pictures and a table of anomalies.

Shape letters: N frames, H W C frame, Z latents.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rl_vae.analysis.anomalies import Anomalies, find_anomalies
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import FolderError
from rl_vae.models import pictures
from rl_vae.models.encoder import Encoder
from rl_vae.models.statistics import Scores
from rl_vae.system import files

COLUMNS = 12
MOST_ROWS = 32
"""So many latents are traversed at most, those that vary most."""


class Gallery(NamedTuple):
    """What `draw_gallery` wrote."""

    path: Path
    shares: dict[str, float]
    """The share of the dataset's frames that each score calls strange."""


def draw_gallery(
    encoder: Encoder,
    dataset: FrameDataset,
    out: str | Path,
    *,
    level: float = 0.99,
    seed: int = 0,
) -> Gallery:
    """Draw reconstructions, samples, interpolations, traversals and anomalies into a folder.

    reconstructions.png   frames above, what the decoder makes of their codes below
    samples.png           decoded draws of the prior
    interpolations.png    from one frame to another: on a line, below it on an arc; three pairs
    traversals.png        one latent a row, those that vary most first, the frame's others kept
    anomalies.png         the strangest frames above, their reconstructions below
    anomalies.csv         every frame's scores, and by which of them it is strange (0 or 1)

    Args:
        encoder: The model.
        dataset: Frames of the same FrameSpec; its own or others.
        out: A folder, made where there is none; files of these names are written anew.
        level: Which quantile of the training frames is strange, as in `find_anomalies`.
        seed: Of the samples and of which frames are shown.

    Raises:
        ObservationError: where the frames are of another FrameSpec.
        ConfigError: where the level is not kept.
        ArtifactError: where another process is drawing there.
    """
    encoder.check_spec(dataset.spec)
    anomalies = _search(encoder, dataset, level)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with files.locked(out, FolderError):
        _draw(encoder, dataset, out, anomalies, seed)
    return Gallery(out, anomalies.shares)


def _draw(
    encoder: Encoder, dataset: FrameDataset, out: Path, anomalies: Anomalies, seed: int
) -> None:
    rows = np.random.default_rng(seed).choice(len(dataset), min(COLUMNS, len(dataset)), False)
    frames = dataset.frames(np.sort(rows))
    pictures.save_picture(
        out / "reconstructions.png", pictures.grid([frames, encoder.reconstruct(frames)])
    )
    drawn = encoder.sample(4 * COLUMNS, seed=seed)
    pictures.save_picture(
        out / "samples.png", pictures.grid(list(drawn.reshape(4, COLUMNS, *drawn.shape[1:])))
    )
    pairs = [(frames[i], frames[-1 - i]) for i in range(min(3, len(frames) // 2))]
    between = [
        encoder.interpolate(first, last, COLUMNS, spherical=spherical)
        for first, last in pairs
        for spherical in (False, True)
    ]
    pictures.save_picture(out / "interpolations.png", pictures.grid(between))
    varied = np.argsort(encoder.statistics.latent_std)[::-1][:MOST_ROWS]
    moved = [encoder.traverse(frames[0], int(latent), COLUMNS - 1) for latent in varied]
    pictures.save_picture(out / "traversals.png", pictures.grid(moved))
    strangest = dataset.frames(anomalies.strangest(COLUMNS))
    pictures.save_picture(
        out / "anomalies.png", pictures.grid([strangest, encoder.reconstruct(strangest)])
    )
    files.write_whole(out / "anomalies.csv", _table(anomalies).encode())


def _search(encoder: Encoder, dataset: FrameDataset, level: float) -> Anomalies:
    """Every frame of a dataset, in parts that fit into memory."""
    parts = [
        find_anomalies(encoder, frames, level=level)
        for frames in dataset.in_batches(np.arange(len(dataset)))
    ]
    scores, strange = (
        Scores(*(np.concatenate(columns) for columns in zip(*group, strict=True)))
        for group in ([part.scores for part in parts], [part.strange for part in parts])
    )
    return Anomalies(scores, strange)


def _table(anomalies: Anomalies) -> str:
    names = Scores._fields
    lines = [",".join(["frame", *names, *(f"strange_{name}" for name in names)])]
    columns = zip(*anomalies.scores, *anomalies.strange, strict=True)
    for frame, values in enumerate(columns):
        scores, flags = values[: len(names)], values[len(names) :]
        lines.append(
            ",".join([str(frame), *(f"{v:.4f}" for v in scores), *(f"{v:.0f}" for v in flags)])
        )
    return "\n".join(lines) + "\n"
