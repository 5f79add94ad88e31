"""Sheets: where frames and labels stand, in which files."""

from pathlib import Path

import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray
from PIL import Image

from rl_vae.errors import ConfigError
from rl_vae.models import pictures
from rl_vae.models.model_sheets import (
    interpolation_sheet,
    latent_label,
    reconstruction_sheet,
    sample_sheet,
    signed,
    traversal_sheet,
)
from rl_vae.models.sheets import Row, Sheet, Texts, heat, legend

EVIL = "</text><script>x</script> $\\frac{ \x1b[31m 漢"


def some_frames(n: int, channels: int = 3, side: int = 70) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, side, side + 10, channels), np.uint8)


def places(picture: NDArray[np.uint8], frame: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Top left corners at which a picture shows a frame, bit for bit."""
    height, width = frame.shape[:2]
    corner = pictures.rgb(frame)[0, 0]
    return [
        (int(y), int(x))
        for y, x in np.argwhere((picture == corner).all(-1))
        if np.array_equal(picture[y : y + height, x : x + width], pictures.rgb(frame))
    ]


@pytest.mark.parametrize("channels", [3, 1])
def test_frames_stand_in_rows_and_columns(channels: int) -> None:
    """Every frame is shown once, bit for bit, right of its label, in its row and column; a border
    is around it, and no two frames touch."""
    rows = [some_frames(3, channels), some_frames(2, channels)]
    image = Sheet([Row(rows[0], "first"), Row(rows[1], "second")], "title").image()
    at = [[places(image, frame) for frame in row] for row in rows]
    assert all(len(corners) == 1 for row in at for corners in row)
    tops = [{corners[0][0] for corners in row} for row in at]
    assert all(len(top) == 1 for top in tops) and min(tops[1]) > min(tops[0]) + 70
    for first, second in zip(at[0], at[1], strict=False):
        assert first[0][1] == second[0][1]
    top, left = at[0][0][0]
    assert left > 30  # the label
    assert (image[top - 1, left - 1 : left + 80] == image[top - 1, left]).all()
    assert (image[top, left + 81] == 255).all()


def test_labels_take_their_place() -> None:
    """Title, headings, labels and notes add dark pixels where they belong, and space."""
    frames = np.full((2, 64, 64, 3), 255, np.uint8)
    bare = Sheet([Row(frames)]).image()
    headed = Sheet([Row(frames)], "title", Texts("frame", ["1", "2"])).image()
    labelled = Sheet([Row(frames, "label", Texts("note", ["a", "b"]))]).image()
    assert headed.shape[0] > bare.shape[0] and labelled.shape[1] > bare.shape[1]
    assert (headed[:20] < 100).any() and not (bare < 100).any()
    assert (labelled[:, :30] < 100).any()


def test_a_larger_sheet_is_the_same_sheet() -> None:
    """A scale multiplies height and width, and small frames are enlarged to 64 pixels at least."""
    sheet = Sheet([Row(some_frames(2, side=30), "a\nb", Texts("c", ["d", "e"]))], "t")
    one, three = sheet.image(), sheet.image(3)
    assert abs(three.shape[0] - 3 * one.shape[0]) <= 3
    assert abs(three.shape[1] - 3 * one.shape[1]) <= 6
    frame = pictures.enlarge(sheet.rows[0].frames[0], 3)  # 90 pixels
    assert len(places(one, frame)) == 1


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_sheets_are_saved(kind: str, tmp_path: Path) -> None:
    """A sheet is a file of the kind that its name says; hostile labels stay text, and the same
    sheet is the same file."""
    sheet = Sheet(
        [Row(some_frames(2), EVIL)],
        EVIL,
        Texts(EVIL, [EVIL]),
        [(EVIL, 1), ("b", 1)],
        scale_ends=("0", EVIL),
    )
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[kind]
    contents = []
    for name in ("first", "second"):
        path = tmp_path / f"{name}.{kind}"
        sheet.save(path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] and contents[0].startswith(start)
    assert b"<script" not in contents[0]
    if kind == "png":
        assert np.array_equal(np.asarray(Image.open(path)), sheet.image())


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A name with another ending is refused, and nothing is written."""
    with refused(ConfigError, "a.bmp", ".svg"):
        Sheet([Row(some_frames(1))]).save(tmp_path / "a.bmp")
    assert not list(tmp_path.iterdir())


def test_heat_goes_from_white_to_dark() -> None:
    """0 is white, larger values are darker, and values outside are cut."""
    colours = heat(np.array([-1.0, 0.0, 0.3, 0.6, 1.0, 2.0])).astype(int).sum(-1)
    assert colours[0] == colours[1] == 765 and colours[4] == colours[5]
    assert (np.diff(colours[1:5]) < 0).all()


def test_reconstructions_stand_below_their_frames_with_their_error() -> None:
    """Frames are above, reconstructions below; the error is the root mean square."""
    frames, decoded = some_frames(3), some_frames(4)[:3]
    sheet = reconstruction_sheet(frames, decoded, numbers=[5, 6, 7])
    assert [row.label for row in sheet.rows] == ["real", "decoded"]
    assert sheet.heading is not None and sheet.heading.texts == ["5", "6", "7"]
    notes = sheet.rows[1].notes
    error = np.sqrt(np.mean((frames[1].astype(float) - decoded[1]) ** 2))
    assert notes is not None and notes.texts[1] == f"{error:.1f}"


def test_traversals_show_what_moved() -> None:
    """The last column is white where nothing moved, and dark where a pixel goes from 0 to 255."""
    frames = np.full((3, 64, 64, 1), 7, np.uint8)
    frames[0, 5, 5], frames[2, 5, 5] = 0, 255
    sheet = traversal_sheet({"z0": frames}, ["a", "b", "c"], "t")
    moved = sheet.rows[0].frames[-1]
    assert (moved[20:] == 255).all() and moved[5, 5].sum() < 200
    assert sheet.scale_ends == ("0", "255") and [size for _, size in sheet.groups] == [3, 1]


def test_samples_and_interpolations_are_labelled() -> None:
    """Samples are in rows of the columns asked for; interpolations show the share of the way."""
    assert [len(row.frames) for row in sample_sheet(some_frames(5), 3, "t").rows] == [3, 2]
    sheet = interpolation_sheet({"a": some_frames(3)}, "t")
    assert sheet.heading is not None and sheet.heading.texts == ["0%", "50%", "100%"]


def test_labels_of_latents() -> None:
    """A label has number, KL and factor; values have signs of one width."""
    assert latent_label(3, 0.125, "x") == "z3\nKL 0.12 nats\nx" and latent_label(3) == "z3"
    assert [signed(v, "σ") for v in (-1.25, 0.0, 2)] == ["−1.2σ", "0", "+2.0σ"]


def test_a_legend_has_a_text_above_each_part() -> None:
    """A strip is as wide as its parts, and has dark pixels in each, even if it is narrow."""
    for width in (20, 200):
        strip = legend([("environment", width), ("decoded from 32 numbers", width + 10)])
        assert strip.shape == (20, 2 * width + 10, 3)
        dark = (strip < 128).any(axis=(0, 2))
        assert dark[:width].any() and dark[width:].any()
