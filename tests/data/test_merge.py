"""merge_datasets: several datasets in one folder."""

from pathlib import Path

import numpy as np
from environments import refused

from rl_vae import FrameDataset, FrameSpec, collect_sprites
from rl_vae.data.merge import merge_datasets
from rl_vae.errors import ConfigError, DatasetError
from rl_vae.verify import verify_folder


def test_frames_and_steps_follow_each_other(tmp_path: Path) -> None:
    """Frames, episodes and factors are those of the datasets; the result is intact."""
    parts = [collect_sprites(tmp_path / str(n), n_frames=16 + n, seed=n) for n in range(2)]
    both = merge_datasets(parts, tmp_path / "both")
    assert both.complete and len(both) == len(both.episodes) == 33
    expected = np.concatenate([part.frames(np.arange(len(part))) for part in parts])
    np.testing.assert_array_equal(both.frames(np.arange(33)), expected)
    factors = np.concatenate([part.steps()["factors"] for part in parts])
    np.testing.assert_array_equal(both.steps()["factors"], factors)
    assert not verify_folder(both.path).findings
    assert merge_datasets(parts, tmp_path / "both").digest == both.digest
    with refused(DatasetError):
        merge_datasets(parts[::-1], tmp_path / "both")


def test_datasets_that_differ_are_refused(tmp_path: Path) -> None:
    """Other sizes, or steps that record something else, are refused, and nothing is written."""
    sprites = collect_sprites(tmp_path / "a", n_frames=16)
    small = FrameDataset.from_arrays(tmp_path / "b", np.zeros((4, 32, 32), np.uint8))
    other = FrameDataset.from_arrays(
        tmp_path / "c", np.zeros((4, 64, 64, 1), np.uint8), spec=FrameSpec(64, 64, 1)
    )
    for wrong in (small, other):
        with refused(ConfigError):
            merge_datasets([sprites, wrong], tmp_path / "out")
    assert not (tmp_path / "out").exists()
