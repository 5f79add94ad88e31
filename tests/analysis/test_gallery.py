"""gallery: pictures of a model, and a table of anomalies."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CONFIG
from environments import COUNTING, refused
from numpy.typing import NDArray
from PIL import Image

from rl_vae import Encoder, FrameDataset, FrameSpec, collect_frames, draw_gallery, find_anomalies
from rl_vae.analysis.gallery import COLUMNS, Gallery
from rl_vae.errors import ConfigError, DatasetError, ObservationError


@pytest.fixture(scope="module")
def gallery(
    encoder: Encoder, dataset: FrameDataset, tmp_path_factory: pytest.TempPathFactory
) -> Gallery:
    return draw_gallery(encoder, dataset, tmp_path_factory.mktemp("gallery") / "new")


def test_every_picture_is_there(gallery: Gallery) -> None:
    """Each picture has its rows and columns, and is not blank; nothing else is written."""
    shapes = {
        "reconstructions": (2, COLUMNS),
        "samples": (4, COLUMNS),
        "interpolations": (6, COLUMNS),
        "traversals": (CONFIG.latent_dim, COLUMNS),
        "anomalies": (2, COLUMNS),
        "codes": (1, 1),
    }
    for name, (rows, columns) in shapes.items():
        with Image.open(gallery.path / f"{name}.png") as picture:
            assert picture.size[0] > columns * 96 and picture.size[1] > rows * 64
            assert np.asarray(picture).std() > 5
    assert len(list(gallery.path.glob("[!.]*"))) == len(shapes) + 1


def test_formats_numbers_films_and_anomalous_frames(
    encoder: Encoder, dataset: FrameDataset, tmp_path: Path
) -> None:
    """Pictures have the format that was asked for and films are written; the latents and frames
    that were asked for are shown; equal frames as anomalies give an area of one half."""
    drawn = draw_gallery(
        encoder,
        dataset,
        tmp_path,
        format="svg",
        latents=[2, 0],
        frames=[7, 3],
        film="gif",
        anomalous=dataset,
    )
    names = {path.name for path in tmp_path.glob("[!.]*")}
    sheets = ("reconstructions", "samples", "interpolations", "traversals", "anomalies", "codes")
    films = {"traversals.gif", "interpolations.gif", "anomalies.csv", "detection.svg"}
    assert names == {f"{name}.svg" for name in sheets} | films
    with Image.open(tmp_path / "traversals.gif") as film:
        assert getattr(film, "n_frames", 1) > 40
    for detection in drawn.detections.values():
        assert detection.auroc.value == pytest.approx(0.5)
        assert detection.auroc.low < 0.5 < detection.auroc.high


WRONG: list[dict[str, Any]] = [
    {"latents": [4]},
    {"latents": ["z0"]},
    {"frames": [320]},
    {"frames": [-1]},
    {"scale": 0},
    {"format": "bmp"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_does_not_exist_is_refused(
    encoder: Encoder, dataset: FrameDataset, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    """A latent, a frame, a size or a format that does not exist is an error before the work."""
    with refused(ConfigError, next(iter(wrong))):
        draw_gallery(encoder, dataset, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_the_table_has_every_frame(
    gallery: Gallery, encoder: Encoder, dataset: FrameDataset
) -> None:
    """anomalies.csv has the scores of each frame in order, as anomalies frame by frame."""
    with (gallery.path / "anomalies.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in table] == list(range(len(dataset)))
    anomalies = find_anomalies(encoder, dataset.frames(np.arange(len(dataset))))
    for name, values in anomalies.scores._asdict().items():
        assert [float(row[name]) for row in table] == pytest.approx(values.tolist(), abs=1e-2)
        flags = [float(row[f"outlier_{name}"]) for row in table]
        assert gallery.shares[name] == pytest.approx(np.mean(flags))


def test_frames_of_another_spec_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    """Frames of the same size but with another crop raise ObservationError."""
    other = collect_frames(
        COUNTING,
        tmp_path / "data",
        n_frames=16,
        spec=FrameSpec(height=32, width=48, crop=(0, 2, 4, 0)),
        engine="gymnasium",
        workers=1,
        progress=False,
    )
    with refused(ObservationError, "crop"):
        draw_gallery(encoder, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_frames_is_refused(
    encoder: Encoder, dataset: FrameDataset, tmp_path: Path
) -> None:
    """A dataset whose manifest names no shard raises DatasetError, and nothing is written."""
    (tmp_path / "data").mkdir()
    shutil.copy(dataset.path / "dataset.json", tmp_path / "data")
    with refused(DatasetError, "no frames"):
        draw_gallery(encoder, FrameDataset.open(tmp_path / "data"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_traversal_moves_one_latent(encoder: Encoder, frames: NDArray[np.uint8]) -> None:
    """One latent moves over the range of the training frames; the others stay."""
    mu = encoder.encode(frames[:1])[0]
    row = encoder.traverse(frames[0], 2, 5, reach=2.0)
    mean, std = encoder.statistics.latent_mean[2], encoder.statistics.latent_std[2]
    for i, steps in enumerate((-2, -1, 0, 1, 2)):
        code = mu.copy()
        code[2] = mean + steps * std
        assert np.abs(encoder.decode(code[None])[0].astype(int) - row[i]).max() <= 1


@pytest.mark.parametrize("spherical", [False, True])
def test_an_interpolation_joins_two_reconstructions(
    encoder: Encoder, frames: NDArray[np.uint8], spherical: bool
) -> None:
    """The first and the last picture are the reconstructions of the two frames."""
    row = encoder.interpolate(frames[0], frames[9], 4, spherical=spherical)
    ends = encoder.reconstruct(frames[[0, 9]])
    assert np.abs(row[[0, 3]].astype(int) - ends).max() <= 1


def test_samples_repeat(encoder: Encoder) -> None:
    """Equal seeds give equal samples, other seeds give others."""
    first, again, other = (encoder.sample(3, seed=seed) for seed in (0, 0, 1))
    assert first.shape == (3, 32, 48, 3) and np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_levels_are_those_of_find_anomalies(
    encoder: Encoder, dataset: FrameDataset, tmp_path: Path
) -> None:
    """1.0, beyond every training frame, is a level of the gallery, too; 0.5 is none."""
    drawn = draw_gallery(encoder, dataset, tmp_path / "pictures", level=1.0)
    assert set(drawn.shares) == set(find_anomalies(encoder, dataset.frames([0])).scores._fields)
    with refused(ConfigError, "level=0.99"):
        draw_gallery(encoder, dataset, tmp_path / "other", level=0.5)
