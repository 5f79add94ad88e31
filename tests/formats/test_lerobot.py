"""LeRobot data sets: files laid out as LeRobot's writer lays them out come in."""

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray
from PIL import Image

from rl_vae import FrameSpec, import_frames
from rl_vae.errors import DatasetError, ObservationError

av = pytest.importorskip("av", reason="pip install 'rl-vae[import]'")
pyarrow = pytest.importorskip("pyarrow", reason="pip install 'rl-vae[import]'")
parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'rl-vae[import]'")

LENGTHS, FPS, SIDES = (4, 6, 3), 10, (32, 48)
FRONT, TOP = "observation.images.front", "observation.images.top"
FILES = (0, 0, 1)
"""File of each episode: several share one."""


def picture(episode: int, step: int, camera: str) -> NDArray[np.uint8]:
    """A smooth picture that tells episode, step and camera."""
    y, x = np.mgrid[: SIDES[0], : SIDES[1]]
    image = np.stack([4 * x, 6 * y, 0 * x + 60 * episode + (camera == TOP)], -1)
    image[:, 4 * step : 4 * step + 6] = 240
    return image.astype(np.uint8)


def write(root: Path) -> Path:
    """Write a data set: a video of one camera, pictures in Parquet of another one."""
    features: dict[str, Any] = {
        FRONT: {"dtype": "video", "shape": [*SIDES, 3], "names": ["height", "width", "channels"]},
        TOP: {"dtype": "image", "shape": [3, *SIDES], "names": ["channels", "height", "width"]},
        "observation.state": {"dtype": "float32", "shape": [2], "names": {"motors": ["x", "y"]}},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
        "note": {"dtype": "string", "shape": [1], "names": None},
    }
    numbers = ("timestamp", "frame_index", "episode_index", "index", "task_index")
    features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in numbers}
    info = {"codebase_version": "v3.0", "fps": FPS, "features": features}
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    # Steps of all episodes, and their places
    episodes, steps = [], [(e, t) for e, n in enumerate(LENGTHS) for t in range(n)]
    for episode, (length, file) in enumerate(zip(LENGTHS, FILES, strict=True)):
        before = sum(LENGTHS[e] for e in range(episode) if FILES[e] == file)
        row: dict[str, Any] = {"episode_index": episode, "length": length, "tasks": ["push"]}
        for kind in ("data", f"videos/{FRONT}"):
            row |= {f"{kind}/chunk_index": 0, f"{kind}/file_index": file}
        row |= {f"videos/{FRONT}/from_timestamp": before / FPS, "stats/index/min": [0]}
        episodes.append(row)
    table = pyarrow.Table.from_pylist(episodes)
    parquet.write_table(table, root / "meta/episodes/chunk-000/file-000.parquet")
    for file in sorted(set(FILES)):
        inside = [(e, t) for e, t in steps if FILES[e] == file]
        _write_steps(root / f"data/chunk-000/file-{file:03d}.parquet", inside)
        _write_video(root / f"videos/{FRONT}/chunk-000/file-{file:03d}.mp4", inside)
    return root


def _write_steps(path: Path, steps: list[tuple[int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = []
    for episode, step in steps:
        content = io.BytesIO()
        Image.fromarray(picture(episode, step, TOP)).save(content, "PNG")
        pictures.append({"bytes": content.getvalue(), "path": f"{episode}-{step}.png"})
    pairs = pyarrow.list_(pyarrow.float32(), 2)
    columns = {
        TOP: pyarrow.array(pictures),
        "observation.state": pyarrow.array([[t, -e] for e, t in steps], pairs),
        "action": pyarrow.array([[e, t / 4] for e, t in steps], pairs),
        "next.reward": [float(t) for _, t in steps],
        "next.done": [t + 1 == LENGTHS[e] for e, t in steps],
        "note": ["text"] * len(steps),
        "frame_index": [t for _, t in steps],
        "episode_index": [e for e, _ in steps],
        "task_index": [0] * len(steps),
    }
    parquet.write_table(pyarrow.table(columns), path)


def _write_video(path: Path, steps: list[tuple[int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as video:
        stream = video.add_stream("libx264", rate=Fraction(FPS))
        stream.height, stream.width, stream.pix_fmt = *SIDES, "yuv420p"
        stream.options = {"crf": "1"}
        for episode, step in steps:
            image = picture(episode, step, FRONT)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        video.mux(stream.encode(None))


@pytest.mark.parametrize("camera", [FRONT, TOP])
def test_a_camera_comes_in(camera: str, tmp_path: Path) -> None:
    """Frames, actions, rewards, ends and factors are those of each episode's steps."""
    spec = FrameSpec(*SIDES)
    dataset = import_frames(
        write(tmp_path / "in"), tmp_path / "out", spec=spec, image_key=camera, progress=False
    )
    assert [episode.length for episode in dataset.episodes] == list(LENGTHS)
    steps = [(e, t) for e, n in enumerate(LENGTHS) for t in range(n)]
    right = np.stack([picture(e, t, camera) for e, t in steps])
    error = np.abs(dataset.frames(np.arange(len(steps))).astype(int) - right)
    assert error.max() == 0 if camera == TOP else error.mean() < 3
    rows = dataset.steps()
    np.testing.assert_array_equal(rows["action"], [[e, t / 4] for e, t in steps])
    np.testing.assert_array_equal(rows["reward"], [t for _, t in steps])
    assert rows["terminated"].tolist() == [t + 1 == LENGTHS[e] for e, t in steps]
    assert dataset.header.factor_names == ("state.x", "state.y", "task_index")
    np.testing.assert_array_equal(dataset.factors["state.y"], [-e for e, _ in steps])


def test_two_cameras_side_by_side(tmp_path: Path) -> None:
    """Several cameras are one image if they are named; otherwise the error lists them."""
    source = write(tmp_path / "in")
    with refused(ObservationError, FRONT, TOP):
        import_frames(source, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    spec = FrameSpec(SIDES[0], 2 * SIDES[1])
    both = import_frames(
        source, tmp_path / "out", spec=spec, image_key=f"{TOP},{FRONT}", progress=False
    )
    np.testing.assert_array_equal(both[5][:, : SIDES[1]], picture(1, 1, TOP))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 2])


def _replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


BROKEN: dict[str, tuple[Any, str]] = {
    "version": (lambda p: _replace(p / "meta/info.json", "v3.0", "v2.1"), "another version"),
    "no episodes": (lambda p: next(p.glob("meta/episodes/*/*")).unlink(), "has no episodes"),
    "cut video": (lambda p: _cut(p / f"videos/{FRONT}/chunk-000/file-000.mp4"), "file-000.mp4"),
    "short video": (
        lambda p: (p / f"videos/{FRONT}/chunk-000/file-001.mp4").replace(
            p / f"videos/{FRONT}/chunk-000/file-000.mp4"
        ),
        "does not fit its data set",
    ),
    "cut steps": (lambda p: _cut(p / "data/chunk-000/file-000.parquet"), "file-000.parquet"),
    "missing steps": (
        lambda p: _write_steps(p / "data/chunk-000/file-001.parquet", [(2, 0)]),
        "1 of 3",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_data_set_leaves_nothing(case: str, tmp_path: Path) -> None:
    """One error names the file, and there is no dataset."""
    breaks, message = BROKEN[case]
    source = write(tmp_path / "in")
    breaks(source)
    with refused(DatasetError, message):
        import_frames(source, tmp_path / "out", image_key=FRONT, progress=False)
    assert not (tmp_path / "out").exists()
