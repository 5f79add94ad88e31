"""Gallery: pictures of what a model reconstructs and draws, and a table of anomalies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.analysis.anomalies import Anomalies, find_anomalies
from rl_vae.analysis.code_map import draw_code_map, encode_codes
from rl_vae.analysis.detection import Detection, draw_detection, measure_detection
from rl_vae.analysis.latent_films import FPS, interpolation_film, traversal_film
from rl_vae.constraints import Range, check_arguments
from rl_vae.data.coverage import check_not_empty
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.models.encoder import Encoder
from rl_vae.models.model_sheets import (
    interpolation_sheet,
    reconstruction_sheet,
    sample_sheet,
    signed,
    traversal_sheet,
)
from rl_vae.models.sheets import Sheet, Texts
from rl_vae.models.statistics import Scores
from rl_vae.system import files, locks
from rl_vae.system.outputs import output_path

COLUMNS = 12
"""Number of frames in a row."""
MAX_ROWS = 32
"""Largest number of latents that are traversed: those with the largest standard deviation."""
REACH = 2.5
"""Traversals go this number of standard deviations to both sides of the mean."""


class Gallery(NamedTuple):
    """Result of `draw_gallery`."""

    path: Path
    """The folder of the pictures."""
    shares: dict[str, float]
    """Share of outliers among the dataset's frames, by each score."""
    detections: dict[str, Detection]
    """How well each score finds the anomalous frames; empty if none were given."""


@check_arguments
def draw_gallery(
    encoder: Encoder,
    dataset: FrameDataset,
    out: str | Path,
    *,
    level: float = 0.99,
    seed: Annotated[int, Range(low=0)] = 0,
    format: Literal["png", "svg", "pdf"] = "png",
    scale: Annotated[int, Range(low=1, high=8)] = 1,
    latents: Sequence[int] = (),
    frames: Sequence[int] = (),
    film: Literal["none", "gif", "mp4"] = "none",
    anomalous: FrameDataset | None = None,
) -> Gallery:
    """Draw reconstructions, samples, interpolations, traversals and anomalies into a folder.

    reconstructions.png   frames above, their reconstructions and errors below
    samples.png           decoded samples of the prior
    interpolations.png    from one frame to another: on a line, below it on an arc; three pairs
    traversals.png        one latent per row, largest standard deviation first, with its KL, what
                          moved, and the factor with the largest squared correlation
    codes.png             principal components of codes: frames, and colours of each factor
    anomalies.png         frames with the lowest ELBO above, their reconstructions below
    anomalies.csv         scores of every frame, and whether it is an outlier (0 or 1)
    detection.png         with `anomalous`: ROC and precision-recall curves of each score
    traversals.gif, interpolations.gif    with `film`: the same as films

    Args:
        encoder: The model.
        dataset: Frames with the same FrameSpec.
        out: The folder, which is created if it does not exist. Files of these names are replaced.
        level: Quantile of the training frames beyond which a frame is an outlier, as in
            `find_anomalies`.
        seed: Seed of the samples and of the choice of frames.
        format: Format of the pictures. svg and pdf have text and axes as shapes, for papers.
        scale: Number that multiplies height and width of the pictures, 1 to 8. At 1 frames are 64
            pixels high or more.
        latents: Latents to traverse, by number. None given: all, at most 32.
        frames: Frames to show, by number in the dataset. None given: twelve are drawn.
        film: Format of the films of traversals and interpolations.
        anomalous: Frames that are known to be anomalous; `dataset` then has the others.

    Raises:
        ObservationError: if the frames have another FrameSpec.
        ConfigError: if that quantile is not stored in the model folder, it has no decoder, or a
            latent or a frame does not exist.
        DatasetError: if a dataset has no frames.
        FolderError: if another process writes to the folder, or it cannot be written.
    """
    # Check everything before the work
    encoder.check_decoder()
    for each in (dataset, *([] if anomalous is None else [anomalous])):
        encoder.check_spec(each.spec)
        check_not_empty(each)
    _check_numbers("latents", latents, encoder.latent_dim)
    _check_numbers("frames", frames, len(dataset))
    # Measure
    anomalies = _find_all(encoder, dataset, level)
    detections: dict[str, Detection] = {}
    share = 0.0
    if anomalous is not None:
        known = _find_all(encoder, anomalous, level).scores
        detections = measure_detection(anomalies.scores, known, seed)
        share = len(anomalous) / (len(anomalous) + len(dataset))
    # Draw
    out = output_path(out)
    drawing = _Drawing(encoder, dataset, out, format, scale, seed)
    files.make_folder(out)
    with files.disk_errors(out), locks.locked(out, FolderError, tree=False):
        drawing.draw(_choose(dataset, frames, seed), latents, anomalies, film)
        if detections:
            draw_detection(drawing.file("detection"), detections, share, scale)
    return Gallery(out, anomalies.shares, detections)


@dataclass(frozen=True)
class _Drawing:
    """Where and how the pictures of a model are drawn."""

    encoder: Encoder
    dataset: FrameDataset
    out: Path
    format: str
    scale: int
    seed: int

    def file(self, name: str) -> Path:
        return self.out / f"{name}.{self.format}"

    def draw(
        self,
        numbers: NDArray[np.int64],
        latents: Sequence[int],
        anomalies: Anomalies,
        film: str,
    ) -> None:
        """Write the pictures, the table and the films."""
        frames, codes = self.dataset.frames(numbers), encode_codes(self.encoder, self.dataset)
        order = np.argsort(self.encoder.statistics.latent_std)[::-1][:MAX_ROWS]
        labels = {int(k): codes.label(int(k)) for k in (latents or order)}
        # Pictures of frames
        sheets = {
            "reconstructions": reconstruction_sheet(
                frames,
                self.encoder.reconstruct(frames),
                "Frames and their reconstructions",
                numbers=numbers,
            ),
            "samples": sample_sheet(
                self.encoder.sample(4 * COLUMNS, seed=self.seed),
                COLUMNS,
                "Decoded samples of the prior",
            ),
            "traversals": self._traversals(frames[0], int(numbers[0]), labels),
            "anomalies": self._anomalies(anomalies),
        }
        if len(frames) > 1:
            sheets["interpolations"] = self._interpolations(frames, numbers)
        for name, sheet in sheets.items():
            sheet.save(self.file(name), self.scale)
        # The map of the codes, the table and the films
        draw_code_map(self.file("codes"), codes, self.dataset, self.scale)
        files.write_whole(self.out / "anomalies.csv", _csv(anomalies).encode())
        if film != "none":
            self._films(frames, numbers, labels, film)

    def _traversals(self, frame: UInt8Array, number: int, labels: Mapping[int, str]) -> Sheet:
        steps = COLUMNS - 1
        rows = {
            label: self.encoder.traverse(frame, latent, steps, reach=REACH)
            for latent, label in labels.items()
        }
        values = [signed(float(v), "σ") for v in np.linspace(-REACH, REACH, steps)]
        title = f"Traversals of frame {number}, from each latent's mean over the training frames"
        return traversal_sheet(rows, values, title)

    def _interpolations(self, frames: UInt8Array, numbers: NDArray[np.int64]) -> Sheet:
        rows = {
            f"{numbers[k]} to {numbers[-1 - k]}\n{name}": self.encoder.interpolate(
                frames[k], frames[-1 - k], COLUMNS, spherical=name == "arc"
            )
            for k in range(min(3, len(frames) // 2))
            for name in ("line", "arc")
        }
        return interpolation_sheet(rows, "Decoded codes between two frames")

    def _anomalies(self, anomalies: Anomalies) -> Sheet:
        lowest = anomalies.lowest_elbo(COLUMNS)
        outliers = self.dataset.frames(lowest)
        return reconstruction_sheet(
            outliers,
            self.encoder.reconstruct(outliers),
            "Frames with the lowest ELBO",
            numbers=lowest,
            notes=Texts("ELBO, nats", [f"{anomalies.scores.elbo[k]:,.0f}" for k in lowest]),
        )

    def _films(
        self,
        frames: UInt8Array,
        numbers: NDArray[np.int64],
        labels: dict[int, str],
        film: str,
    ) -> None:
        films = {
            "traversals": traversal_film(self.encoder, frames[0], labels, REACH, self.scale),
            "interpolations": interpolation_film(
                self.encoder, frames[:6], [int(n) for n in numbers[:6]], self.scale
            ),
        }
        for name, images in films.items():
            pictures.save_video(self.out / f"{name}.{film}", images, fps=FPS)


def _check_numbers(name: str, numbers: Sequence[int], size: int) -> None:
    """Raise ConfigError unless numbers are whole and lie between 0 and size - 1."""
    for number in numbers:
        is_number = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if not is_number or not 0 <= number < size:
            raise ConfigError(
                f"{name} has a number that does not exist.",
                expected=f"whole numbers from 0 to {size - 1}",
                got=repr(number),
                remedy="choose other numbers, or leave them out",
            )


def _choose(dataset: FrameDataset, frames: Sequence[int], seed: int) -> NDArray[np.int64]:
    """Numbers of the frames to show: those that were asked for, or twelve."""
    if len(frames):
        return np.array([int(number) for number in frames], np.int64)
    rng = np.random.default_rng(seed)
    drawn: NDArray[np.int64] = np.sort(rng.choice(len(dataset), min(COLUMNS, len(dataset)), False))
    return drawn


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
