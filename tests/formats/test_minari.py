"""Minari data sets, written by the package minari."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import refused
from gymnasium import spaces

from rl_vae import FrameDataset, FrameSpec, export_data, import_frames
from rl_vae.errors import ConfigError, DatasetError, ObservationError

minari = pytest.importorskip("minari", reason="pip install 'rl-vae[import]'")

# Minari recommends to say who wrote a data set, and with which code.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")

SPEC = FrameSpec(32, 32)
LENGTHS = (5, 300, 12)
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (n + 1, 32, 32, 3), np.uint8) for n in LENGTHS]
ACTIONS = [RNG.integers(0, 4, n) for n in LENGTHS]
IMAGE_SPACE = spaces.Box(0, 255, (32, 32, 3), np.uint8)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in which minari keeps its data sets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path


def write(root: Path, space: spaces.Space[Any], observations: list[Any]) -> Path:
    """Write a data set with minari."""
    from minari.data_collector import EpisodeBuffer

    buffers = [
        EpisodeBuffer(
            id=k,
            observations=images,
            actions=list(actions),
            rewards=list(np.arange(len(actions), dtype=np.float64)),
            terminations=[False] * (len(actions) - 1) + [k != 1],
            truncations=[False] * (len(actions) - 1) + [k == 1],
        )
        for k, (images, actions) in enumerate(zip(observations, ACTIONS, strict=True))
    ]
    minari.create_dataset_from_buffers(
        "test/frames-v0",
        buffers,
        observation_space=space,
        action_space=spaces.Discrete(4),
        jpeg_encoding=False,
    )
    return root / "minari" / "test" / "frames-v0"


def check(dataset: FrameDataset) -> None:
    """Every frame but each episode's last, actions, rewards and ends are those above."""
    expected = np.concatenate([images[:-1] for images in IMAGES])
    np.testing.assert_array_equal(dataset.frames(np.arange(len(dataset))), expected)
    steps = dataset.steps()
    np.testing.assert_array_equal(steps["action"], np.concatenate(ACTIONS))
    np.testing.assert_array_equal(steps["reward"], np.concatenate([np.arange(n) for n in LENGTHS]))
    ends = [(n, k != 1, k == 1) for k, n in enumerate(LENGTHS)]
    assert [episode[1:] for episode in dataset.episodes] == ends


def test_minari_comes_in_and_goes_out(root: Path) -> None:
    """A data set that minari wrote comes in; the export opens in minari and comes back equal."""
    source = write(root, IMAGE_SPACE, [list(images) for images in IMAGES])
    dataset = import_frames(source, root / "1", spec=SPEC, progress=False)
    check(dataset)
    out = export_data(dataset, root / "minari" / "rl_vae" / "frames-v0", format="minari")
    again = minari.load_dataset("rl_vae/frames-v0")
    episode = again[1]
    np.testing.assert_array_equal(episode.observations[:-1], IMAGES[1][:-1])
    assert again.total_steps == sum(LENGTHS)
    check(import_frames(out, root / "2", spec=SPEC, progress=False))


def test_factors_survive(root: Path) -> None:
    """Factors and float actions come back from an export."""
    arrays: dict[str, Any] = {
        "actions": RNG.normal(size=(20, 3)).astype(np.float32),
        "rewards": np.arange(20),
        "terminated": np.arange(20) % 10 == 9,
        "factors": {"x": np.arange(20) / 7},
    }
    dataset = FrameDataset.from_arrays(root / "a", IMAGES[1][:20], spec=SPEC, **arrays)
    out = export_data(dataset, root / "out", format="minari")
    back = import_frames(out, root / "b", spec=SPEC, progress=False)
    np.testing.assert_array_equal(back.steps(), dataset.steps())


def test_images_in_a_dict(root: Path) -> None:
    """image_key names one of several images; without it the error lists them."""
    space = spaces.Dict({"left": IMAGE_SPACE, "right": IMAGE_SPACE})
    both = [{"left": list(images[::-1]), "right": list(images)} for images in IMAGES]
    source = write(root, space, both)
    with refused(ObservationError, "image_key"):
        import_frames(source, root / "out", progress=False)
    dataset = import_frames(source, root / "out", spec=SPEC, image_key="right", progress=False)
    check(dataset)
    assert dataset.header.source.key == "right"


def test_what_minari_cannot_hold(root: Path) -> None:
    """An export needs actions and rewards; a damaged folder is refused."""
    dataset = FrameDataset.from_arrays(root / "a", IMAGES[0], spec=SPEC)
    with refused(ConfigError, "with actions"):
        export_data(dataset, root / "out", format="minari")
    source = write(root, IMAGE_SPACE, [list(images) for images in IMAGES])
    data = source / "data" / "main_data.hdf5"
    data.write_bytes(data.read_bytes()[:2000])
    with refused(DatasetError, str(source)):
        import_frames(source, root / "out", spec=SPEC, progress=False)
    assert not (root / "out").exists()
