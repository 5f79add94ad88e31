"""Videos, written by PyAV and by Gymnasium's RecordVideo."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import refused
from numpy.typing import NDArray

from rl_vae import FrameDataset, FrameSpec, export_data, import_frames
from rl_vae.errors import ConfigError, DatasetError

pytestmark = pytest.mark.slow

av = pytest.importorskip("av", reason="pip install 'rl-vae[import]'")

SPEC = FrameSpec(32, 48)
N = 40


def moving(n: int = N, seed: int = 0) -> NDArray[np.uint8]:
    """A bright square that moves over a smooth background, (N, 32, 48, 3)."""
    images = np.empty((n, 32, 48, 3), np.uint8)
    images[...] = np.linspace(20, 120, 48, dtype=np.uint8)[:, None]
    for k, image in enumerate(images):
        image[8:20, (k + seed) % 36 : (k + seed) % 36 + 12] = (200, 60, 60)
    return images


def write(path: Path, images: NDArray[np.uint8], fps: int = 10) -> None:
    """Write a video: lossless FFV1 for .mkv and .avi, H.264 for .mp4."""
    path.parent.mkdir(exist_ok=True)
    codec, pixels = ("libx264", "yuv420p") if path.suffix == ".mp4" else ("ffv1", "bgr0")
    with av.open(str(path), "w") as video:
        stream = video.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], pixels
        for image in images:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        video.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".mp4"])
def test_videos_come_in(suffix: str, tmp_path: Path) -> None:
    """Each file is an episode, in the order of numbers; lossless frames come back exactly."""
    for number in (1, 2, 10):
        write(tmp_path / "in" / f"v{number}{suffix}", moving(N + number, number))
    dataset = import_frames(tmp_path / "in", tmp_path / "out", spec=SPEC, progress=False)
    assert [episode.length for episode in dataset.episodes] == [N + 1, N + 2, N + 10]
    error = np.abs(dataset.frames(np.arange(N + 1)).astype(int) - moving(N + 1, 1))
    assert error.max() == 0 if suffix != ".mp4" else error.mean() < 3


def test_actions_beside_a_video(tmp_path: Path) -> None:
    """Rows of CSV, Parquet and npz belong to frames by order, number or time."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'rl-vae[import]'")
    import pyarrow

    action = np.random.default_rng(0).normal(size=(N, 2))
    for kind in ("order", "frame", "time", "parquet", "npz", "one fewer"):
        video = tmp_path / f"{kind}.mkv"
        write(video, moving())
        columns: dict[str, Any] = {"action_0": action[:, 0], "action_1": action[:, 1]}
        columns |= {"reward": np.arange(N), "speed": np.arange(N) / 3}
        rows = np.arange(N)
        if kind == "frame":
            rows = rows[::-1]
            columns["frame"] = np.arange(N)
        elif kind == "time":
            columns["timestamp"] = np.arange(N) / 10 + 0.02
        elif kind == "one fewer":
            rows = rows[:-1]
        columns = {name: values[rows] for name, values in columns.items()}
        if kind == "parquet":
            parquet.write_table(pyarrow.table(columns), video.with_suffix(".parquet"))
        elif kind == "npz":
            np.savez(video.with_suffix(".npz"), **columns)
        else:
            lines = [",".join(map(repr, map(float, row))) for row in zip(*columns.values())]  # noqa: B905
            video.with_suffix(".csv").write_text("\n".join([",".join(columns), *lines]))
        dataset = import_frames(video, tmp_path / f"{kind} out", spec=SPEC, progress=False)
        n = N - 1 if kind == "one fewer" else N
        np.testing.assert_array_equal(dataset.steps()["action"], action[:n])
        np.testing.assert_array_equal(dataset.factors["speed"], np.arange(n) / 3)
        np.testing.assert_array_equal(dataset.steps()["reward"], np.arange(n))


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a truncated MP4": (lambda path: cut(path, 0.7), "cannot be read"),
    "an empty MP4": (lambda path: cut(path, 0), "cannot be read"),
    "a text": (lambda path: path.write_text("video"), "cannot be read"),
    "too few rows": (
        lambda path: path.with_suffix(".csv").write_text("action\n1\n2\n"),
        "2 rows for",
    ),
    "too many rows": (
        lambda path: path.with_suffix(".csv").write_text("action\n" + "1\n" * (N + 1)),
        f"{N + 1} rows for",
    ),
    "a frame without a row": (
        lambda path: path.with_suffix(".csv").write_text("frame,action\n0,1\n"),
        "no row for",
    ),
    "times of another video": (
        lambda path: path.with_suffix(".csv").write_text("time,action\n50,1\n51,2\n"),
        "rows from 50",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_video_leaves_nothing(case: str, tmp_path: Path) -> None:
    """One error names the file, and there is no dataset."""
    change, text = BROKEN[case]
    write(tmp_path / "a.mp4", moving())
    change(tmp_path / "a.mp4")
    with refused(DatasetError, text):
        import_frames(tmp_path / "a.mp4", tmp_path / "out", spec=SPEC, progress=False)
    assert not (tmp_path / "out").exists()


def test_record_video(tmp_path: Path) -> None:
    """The folder of Gymnasium's RecordVideo is a folder of videos, an episode each."""
    pytest.importorskip("moviepy")
    env = gym.wrappers.RecordVideo(
        gym.make("CartPole-v1", render_mode="rgb_array"), str(tmp_path / "in"), lambda n: True
    )
    lengths = []
    for seed in range(3):
        env.reset(seed=seed)
        n, over = 1, False
        while not over:
            _, _, terminated, truncated, _ = env.step(n % 2)
            n, over = n + 1, terminated or truncated
        lengths.append(n)
    env.close()
    dataset = import_frames(tmp_path / "in", tmp_path / "out", progress=False)
    assert [episode.length for episode in dataset.episodes] == lengths


def test_an_export_as_mp4(tmp_path: Path) -> None:
    """Actions, rewards, ends and factors come back exactly, smooth frames within 3 of 255."""
    n = 2 * N
    given: dict[str, Any] = {
        "actions": np.random.default_rng(0).normal(size=n).astype(np.float32),
        "rewards": np.arange(n),
        "truncated": np.arange(n) % N == N - 1,
        "factors": {"x": np.arange(n) / 7},
    }
    dataset = FrameDataset.from_arrays(tmp_path / "a", moving(n), spec=SPEC, **given)
    out = export_data(dataset, tmp_path / "mp4", format="mp4")
    back = import_frames(out, tmp_path / "b", spec=SPEC, progress=False)
    np.testing.assert_array_equal(back.steps(), dataset.steps())
    rows = np.arange(n)
    error = np.abs(back.frames(rows).astype(int) - dataset.frames(rows))
    assert error.mean() < 3
    odd = FrameDataset.from_arrays(tmp_path / "odd", moving(), spec=FrameSpec(33, 33))
    with refused(ConfigError, "even"):
        export_data(odd, tmp_path / "no", format="mp4")
    assert not (tmp_path / "no").exists() and not list(tmp_path.glob(".tmp*"))
