"""The commands on datasets: import, inspect, preview, merge, export-data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_runs import run
from PIL import Image

from rl_vae import FrameDataset

N = 10


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two episodes with actions, rewards and a factor, imported by a command."""
    folder = tmp_path_factory.mktemp("recording")
    step = np.arange(N)
    images = np.zeros((N, 32, 32, 3), np.uint8)
    images[step, step] = 255  # a line that falls
    np.savez(
        folder / "in.npz",
        observations=images,
        actions=step % 3,
        rewards=step / 2,
        terminated=step % 5 == 4,
        **{"factors/height": step},
    )
    keys = ("--keys", "images=observations", "--height", 32, "--width", 32)
    assert run("import", folder / "in.npz", "--out", folder / "data", *keys) == 0
    shutil.copytree(folder / "data", folder / "empty")
    (folder / "empty" / "manifest.jsonl").unlink()
    return folder / "data"


def test_what_inspect_says(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames, episodes, origin, ranges of every column, pixels and a contact sheet."""
    sheet, figures = tmp_path / "new" / "sheet.png", tmp_path / "figures.json"
    assert run("inspect", recording, "--out", sheet, "--json", figures) == 0
    text = capsys.readouterr().out
    for words in (
        "10 frames of 32 x 32 x 3 from in, 2 episodes of 5 frames",
        "complete: yes",
        "action 0: 0 to 2, 3 values",
        "reward: 0 to 4.5, 10 values",
        "factor height: 0 to 9, 10 values",
        "pixels of 10 frames: 0 to 255",
    ):
        assert words in text
    with Image.open(sheet) as shown:
        assert shown.size[0] >= 10 * 32
    assert json.loads(figures.read_bytes())["figures"]["factor height_high"] == 9


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_preview_shows_the_first_frames(recording: Path, tmp_path: Path, ending: str) -> None:
    """The video has as many frames as were asked for, enlarged."""
    out = tmp_path / f"p.{ending}"
    assert run("preview", recording, "--out", out, "--frames", 6, "--scale", 2) == 0
    if ending == "gif":
        with Image.open(out) as shown:
            assert (getattr(shown, "n_frames", 1), shown.size) == (6, (64, 64))
    else:
        assert out.stat().st_size > 500


@pytest.mark.parametrize("format", ["npz", "hdf5"])
def test_a_merged_dataset_is_exported_and_comes_back(
    recording: Path, tmp_path: Path, format: str
) -> None:
    """merge, export-data and import keep frames, steps and factors."""
    if format == "hdf5":
        pytest.importorskip("h5py", reason="pip install 'rl-vae[import]'")
    merged, file, back = tmp_path / "merged", tmp_path / f"e.{format}", tmp_path / "back"
    assert run("merge", recording, recording, "--out", merged) == 0
    assert run("export-data", merged, "--format", format, "--out", file) == 0
    assert run("import", file, "--out", back, "--height", 32, "--width", 32) == 0
    first, last = FrameDataset.open(merged), FrameDataset.open(back)
    rows = np.arange(2 * N)
    assert len(first.episodes) == len(last.episodes) == 4
    np.testing.assert_array_equal(first.frames(rows), last.frames(rows))
    np.testing.assert_array_equal(first.steps(), last.steps())


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a missing source": (("import", "nowhere", "--out", "out"), "There is no nowhere"),
    "a wrong key": (("import", "in.npz", "--out", "out", "--keys", "images"), "NAME=KEY"),
    "no images": (("import", "in.npz", "--out", "out"), "has no array 'images'"),
    "a flat array": (
        ("import", "in.npz", "--out", "out", "--keys", "images=rewards"),
        "are no images",
    ),
    "another ending": (("preview", "data", "--out", "out"), ".gif or .mp4"),
    "another format": (("export-data", "data", "--out", "out", "--format", "zip"), "'zip'"),
    "no dataset": (("inspect", "nowhere", "--out", "out"), "nowhere"),
    "an existing file": (("export-data", "data", "--out", "in.npz", "--format", "npz"), "exists"),
    "a look at nothing": (("inspect", "empty", "--out", "out.png"), "no frames to show"),
    "a preview of nothing": (("preview", "empty", "--out", "out.gif"), "no frames to show"),
    "one that is no dataset": (("merge", "data", "nowhere", "--out", "out"), "nowhere"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_leaves_nothing(
    recording: Path,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One error, status 2, and the folder is as before."""
    monkeypatch.chdir(recording.parent)
    before = sorted(path.name for path in recording.parent.rglob("*"))
    arguments, words = WRONG[case]
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in recording.parent.rglob("*")) == before
