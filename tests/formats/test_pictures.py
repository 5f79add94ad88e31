"""Folders of pictures, written by Pillow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from rl_vae import FrameSpec, import_frames
from rl_vae.errors import ConfigError, DatasetError, ObservationError, RlVaeError

SPEC = FrameSpec(32, 32)


def picture(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape or (32, 32, 3), np.uint8)


def save(path: Path, image: NDArray[Any], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


def imported(folder: Path, **options: Any) -> Any:
    out = folder.with_name("out")
    return import_frames(folder, out, progress=False, **{"spec": SPEC, **options})


def test_digits_of_scikit_learn(tmp_path: Path) -> None:
    """Pictures with a table of factors come back, each an episode of its own."""
    digits = load_digits()
    images = (digits.images[:300] * 15).astype(np.uint8)
    for number, image in enumerate(images):
        save(tmp_path / "digits" / f"{number}.png", image)
    rows = [f"{n}.png,{digits.target[n]},{images[n].mean()}" for n in reversed(range(300))]
    table = "\n".join(["file_name,digit,ink", *rows])
    (tmp_path / "digits" / "metadata.csv").write_text(table)
    dataset = imported(tmp_path / "digits", spec=FrameSpec(32, 32, 1), small_images="upscale")
    frames = dataset.frames(np.arange(300))[..., 0]
    np.testing.assert_array_equal(frames[:, ::4, ::4], images)
    np.testing.assert_array_equal(dataset.factors["digit"], digits.target[:300])
    np.testing.assert_array_equal(dataset.factors["ink"], images.mean(axis=(1, 2)))
    assert len(dataset.episodes) == 300 and dataset.header.missing == ("action", "reward")


def test_folders_are_episodes_or_labels(tmp_path: Path) -> None:
    """Sub-folders are episodes in the order of numbers in their names, or labels."""
    for folder, n in (("run 2", 3), ("run 10", 4), ("run 1", 2)):
        for number in range(n):
            save(tmp_path / "in" / folder / f"{number}.png", picture(100 * n + number))
    dataset = imported(tmp_path / "in")
    assert [episode.length for episode in dataset.episodes] == [2, 3, 4]
    np.testing.assert_array_equal(dataset.frames([2])[0], picture(300))
    out = tmp_path / "labels"
    labelled = import_frames(tmp_path / "in", out, spec=SPEC, subfolders="labels", progress=False)
    assert labelled.factors["label"].tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert labelled.header.env_kwargs["labels"] == ["run 1", "run 2", "run 10"]
    assert len(labelled.episodes) == 9


def test_conversions_that_lose_no_meaning(tmp_path: Path) -> None:
    """EXIF rotation is applied, palettes become RGB, alpha is dropped, bits become gray."""
    image = picture(1, 32, 40, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    save(tmp_path / "turned" / "a.png", image, exif=exif)
    turned = import_frames(tmp_path / "turned", tmp_path / "1", spec=FrameSpec(40, 32))
    np.testing.assert_array_equal(turned[0], np.rot90(image, -1))
    (tmp_path / "palette").mkdir()
    palette = Image.fromarray(image).quantize(16)
    palette.save(tmp_path / "palette" / "a.png")
    frames = import_frames(tmp_path / "palette", tmp_path / "2", spec=FrameSpec(32, 40))
    np.testing.assert_array_equal(frames[0], np.array(palette.convert("RGB")))
    save(tmp_path / "alpha" / "a.png", picture(2, 32, 32, 4))
    frames = import_frames(tmp_path / "alpha", tmp_path / "3", spec=SPEC)
    np.testing.assert_array_equal(frames[0], picture(2, 32, 32, 4)[..., :3])
    assert "alpha dropped" in frames.header.source.describe()
    save(tmp_path / "bits" / "a.png", picture(3, 32, 32) > 127)
    frames = import_frames(tmp_path / "bits", tmp_path / "4")
    assert frames.spec.channels == 1 and set(np.unique(frames[0])) <= set(range(256))


def test_16_bits_need_a_range(tmp_path: Path) -> None:
    """A 16-bit gray picture is refused without its range of values, and scaled with it."""
    depth = np.linspace(0, 4000, 1024).astype(np.uint16).reshape(32, 32)
    save(tmp_path / "in" / "a.png", depth)
    with refused(ObservationError, "value_range="):
        imported(tmp_path / "in", spec=FrameSpec(32, 32, 1))
    assert not (tmp_path / "out").exists()
    dataset = imported(tmp_path / "in", spec=FrameSpec(32, 32, 1), value_range=(0, 4000))
    np.testing.assert_allclose(dataset[0][..., 0], depth / 4000 * 255, atol=0.51)


def truncated(folder: Path) -> None:
    save(folder / "2.png", picture(2))
    path = folder / "2.png"
    path.write_bytes(path.read_bytes()[:-500])


def cmyk(folder: Path) -> None:
    Image.fromarray(picture(2)).convert("CMYK").save(folder / "2.jpg")


def deep(folder: Path) -> None:
    """A PNG of 16 bits per colour, which Pillow does not write."""
    import cv2

    cv2.imwrite(str(folder / "2.png"), picture(2).astype(np.uint16) * 257)


def animation(folder: Path) -> None:
    first, second = (Image.fromarray(picture(n)) for n in (2, 3))
    first.save(folder / "2.gif", save_all=True, append_images=[second])


def table(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "metadata.csv").write_text(text)

    return write


BROKEN: dict[str, tuple[Callable[[Path], Any], type[RlVaeError], str]] = {
    "a truncated file": (truncated, DatasetError, "2.png cannot be read"),
    "an empty file": (lambda f: (f / "2.png").touch(), DatasetError, "2.png"),
    "CMYK": (cmyk, ObservationError, "CMYK"),
    "16 bits per colour": (deep, ObservationError, "16 bits per colour"),
    "an animation": (animation, ObservationError, "2 images"),
    "another size": (lambda f: save(f / "2.png", picture(2, 32, 33, 3)), ObservationError, "2.png"),
    "a gray one": (lambda f: save(f / "2.png", picture(2, 32, 32)), ObservationError, "2.png"),
    "another file": (lambda f: (f / "2.heic").touch(), DatasetError, "2.heic"),
    "two depths": (lambda f: save(f / "more" / "2.png", picture(2)), DatasetError, "not both"),
    "no file_name": (table("x\n1\n"), DatasetError, "file_name"),
    "a row too many": (table("file_name,x\n1.png,1\n2.png,1\n"), DatasetError, "2.png"),
    "a gap": (table("file_name,x\n1.png,nan\n"), ConfigError, "factor x"),
    "a text": (table("file_name,x\n1.png,cat\n"), DatasetError, "column x"),
    "a ragged table": (table("file_name,x\n1.png\n"), DatasetError, "metadata.csv"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_refused_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    """One error names the file, and there is no dataset."""
    change, error, text = BROKEN[case]
    save(tmp_path / "in" / "1.png", picture(1))
    change(tmp_path / "in")
    with refused(error, text):
        imported(tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_no_pictures(tmp_path: Path) -> None:
    """An empty folder and a missing one are refused."""
    (tmp_path / "in").mkdir()
    with refused(ConfigError, "an empty folder"):
        imported(tmp_path / "in")
    with refused(ConfigError, "no such path"):
        imported(tmp_path / "nothing")
    assert not (tmp_path / "out").exists()
