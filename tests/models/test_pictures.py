"""Pictures, films and charts: what is drawn where, and files that others can open."""

import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray
from PIL import Image

from rl_vae.errors import ConfigError
from rl_vae.models import pictures


def red(height: int, width: int) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 255
    return image


def test_enlarging_repeats_pixels() -> None:
    """Enlarged three times, every pixel is a square of three by three."""
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(pictures.enlarge(image, 3), np.kron(image, np.ones((3, 3, 1), np.uint8)))


def test_saved_pictures_keep_their_colours(tmp_path: Path) -> None:
    """What is red in an array is red in the file, bit for bit."""
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    image[:10] = red(10, 30)
    pictures.save_picture(tmp_path / "picture.png", image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "picture.png")), image)


def test_gray_pictures_can_be_saved(tmp_path: Path) -> None:
    """A picture of one channel is written as gray."""
    image = np.arange(200, dtype=np.uint8).reshape(10, 20, 1)
    pictures.save_picture(tmp_path / "gray.png", image)
    saved = np.asarray(Image.open(tmp_path / "gray.png").convert("RGB"))
    assert np.array_equal(saved, np.repeat(image, 3, axis=2))


def test_pictures_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    """A picture in a folder that is not there is an error that names it."""
    with refused(ConfigError, "nowhere"):
        pictures.save_picture(tmp_path / "nowhere" / "picture.png", red(10, 10))


def film(n: int = 8) -> list[NDArray[np.uint8]]:
    """A white bar that walks over red."""
    images = [red(33, 47) for _ in range(n)]
    for i, image in enumerate(images):
        image[:, 5 * i : 5 * i + 5] = 255
    return images


def test_gif_shows_every_image(tmp_path: Path) -> None:
    """A GIF has all images, at their size, in their colours, and repeats for ever."""
    pictures.save_video(tmp_path / "film.gif", film(), fps=20)
    gif: Any
    with Image.open(tmp_path / "film.gif") as gif:
        assert (gif.n_frames, gif.size) == (8, (47, 33))
        assert (gif.info["loop"], gif.info["duration"]) == (0, 50)
        for i, image in enumerate(film()):
            gif.seek(i)
            assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - image).max() <= 16


def test_mp4_shows_every_image(tmp_path: Path) -> None:
    """An MP4 has all images, at their size made even, in their colours."""
    pictures.save_video(tmp_path / "film.mp4", film(), fps=20)
    video = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    shown = []
    while (got := video.read())[0]:
        shown.append(got[1][..., ::-1].astype(int))
    assert len(shown) == 8
    for image, right in zip(shown, film(), strict=True):
        assert image.shape == (32, 46, 3)
        assert np.abs(image - right[:32, :46]).mean() < 40  # lossy; red for blue would be 170


def test_other_films_are_refused(tmp_path: Path) -> None:
    """A film that is neither GIF nor MP4 is refused, and nothing is written."""
    with refused(ConfigError, ".avi"):
        pictures.save_video(tmp_path / "film.avi", film())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["chart.png", "chart.svg"])
def test_charts_are_drawn(tmp_path: Path, name: str) -> None:
    """A chart of curves and levels is a file of the kind that its name says."""
    curves = [pictures.Curve([0, 1, 2], [1.0, 4.0, 9.0], "return")]
    path = tmp_path / name
    pictures.save_chart(path, curves, xlabel="steps", ylabel="return", levels={"random": 2.0})
    if path.suffix == ".png":
        assert np.asarray(Image.open(path).convert("RGB")).std() > 1
    else:
        assert path.read_text().startswith("<?xml")


def test_side_by_side_brings_images_to_one_height() -> None:
    """A reconstruction of any size and colour has the place and size of the part that it shows;
    edges that were cut off are gray."""
    gray = np.full((32, 32, 1), 100, np.uint8)
    both = pictures.side_by_side(red(96, 48), gray, height=64)
    assert both.shape == (64, 32 + 32, 3)
    assert (both[:, :32] == (255, 0, 0)).all() and (both[:, 32:] == 100).all()
    cut = pictures.side_by_side(red(96, 48), gray, crop=(12, 24, 0, 6), height=192)
    assert (cut[24:144, 96 : 96 + 84] == 100).all()
    assert (cut[:24, 96:] == 225).all() and (cut[144:, 96:] == 225).all()
    assert (cut[:, 96 + 84 :] == 225).all()


def test_bars_show_sign_size_and_strangeness() -> None:
    """A bar goes up for plus and down for minus, is cut at the edge, and changes colour outside."""
    values = np.array([2.0, -1.0, 9.0, 0.0], np.float32)
    low, high = np.full(4, -1.5, np.float32), np.full(4, 1.5, np.float32)
    picture = pictures.bars(values, low, high, height=80, reach=4.0)
    assert picture.shape == (80, 192, 3) and picture.dtype == np.uint8
    lengths = []
    for k, outside in enumerate([True, False, True, False]):
        column = picture[:, 48 * k + 3]
        drawn = (column != 255).any(-1) & (np.arange(80) != 40)
        lengths.append((int(drawn[:40].sum()), int(drawn[41:].sum())))
        for colour in column[drawn]:
            assert (colour[0] > colour[2]) == outside
    assert lengths == [(20, 0), (0, 9), (40, 0), (0, 0)]


def test_bars_of_many_latents_stay_narrow() -> None:
    """Of more than 512 latents the first 512 are drawn, a pixel each."""
    zeros = np.zeros(600, np.float32)
    assert pictures.bars(zeros, zeros, zeros).shape == (192, 512, 3)


def test_webp_keeps_every_pixel_or_nearly() -> None:
    """An exact WebP gives every pixel back; the other one is smaller and near it; gray is RGB."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    down, right = np.meshgrid(ramp, ramp, indexing="ij")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8) // 8
    image = np.stack([down, right, noise], axis=-1)
    complete, small = (pictures.as_webp(image, exact=exact) for exact in (True, False))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(complete))), image)
    assert len(small) < len(complete)
    near = np.asarray(Image.open(io.BytesIO(small))).astype(int)
    assert np.abs(near - image).mean() < 4
    gray = np.asarray(Image.open(io.BytesIO(pictures.as_webp(image[..., :1], exact=True))))
    assert np.array_equal(gray, np.repeat(image[..., :1], 3, axis=-1))


@pytest.mark.parametrize("loss", ["nothing", "half"])
def test_an_incomplete_film_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """OpenCV reports no failed write. A film that cannot be read back as a whole is an error, and
    no file is left."""

    class FullDisk:
        def __init__(self, path: str, *arguments: object) -> None:
            self.path, self.writer = path, original(path, *arguments)

        def isOpened(self) -> bool:
            return bool(self.writer.isOpened())

        def write(self, image: object) -> None:
            self.writer.write(image)

        def release(self) -> None:
            self.writer.release()
            size = Path(self.path).stat().st_size
            os.truncate(self.path, 0 if loss == "nothing" else size // 2)

    original = cv2.VideoWriter
    fourcc = original.fourcc
    monkeypatch.setattr(FullDisk, "fourcc", staticmethod(fourcc), raising=False)
    monkeypatch.setattr(cv2, "VideoWriter", FullDisk)
    with pytest.raises(ConfigError, match="could not be written"):
        pictures.save_video(tmp_path / "film.mp4", film(), fps=20)
    assert list(tmp_path.iterdir()) == []
