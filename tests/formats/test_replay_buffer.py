"""Replay buffers of Stable-Baselines3 as datasets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import refused
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer

from rl_vae import FrameSpec, import_replay_buffer
from rl_vae.errors import ConfigError

IMAGE = spaces.Box(0, 255, (3, 32, 40), np.uint8)
ENDS = {5: False, 9: True}
"""Steps after which an episode ends, and whether by a time limit."""


def image(env: int, step: int) -> np.ndarray[Any, Any]:
    return np.full((3, 32, 40), 20 * env + step, np.uint8)


def filled(kind: Any, space: spaces.Space[Any], size: int, steps: int = 14) -> Any:
    """A buffer of two environments after some steps."""
    buffer = kind(size, space, spaces.Discrete(4), n_envs=2, handle_timeout_termination=True)
    for step in range(steps):
        seen = np.stack([image(env, step) for env in range(2)])
        seen = {"camera": seen, "speed": np.zeros((2, 1))} if kind is DictReplayBuffer else seen
        done, cut = np.full(2, step in ENDS), ENDS.get(step, False)
        infos = [{"TimeLimit.truncated": cut} for _ in range(2)]
        action = np.array([step % 4, (step + 1) % 4])
        buffer.add(seen, seen, action, np.full(2, float(step)), done, infos)
    return buffer


@pytest.mark.parametrize("kind", [ReplayBuffer, DictReplayBuffer])
@pytest.mark.parametrize("size", [40, 16])
def test_a_buffer_comes_in(kind: Any, size: int, tmp_path: Path) -> None:
    """Frames of each environment are in the order of time, also if the oldest were overwritten."""
    space: spaces.Space[Any] = IMAGE
    if kind is DictReplayBuffer:
        space = spaces.Dict({"camera": IMAGE, "speed": spaces.Box(-1, 1, (1,), np.float64)})
    buffer = filled(kind, space, size)
    dataset = import_replay_buffer(buffer, tmp_path / "out", spec=FrameSpec(32, 40))
    first = 6 if size == 16 else 0  # SB3 divides the size by the number of environments
    steps = np.arange(first, 14)
    seen = np.concatenate([20 * env + steps for env in range(2)])
    np.testing.assert_array_equal(dataset.frames(np.arange(len(seen)))[:, 0, 0, 0], seen)
    rows = dataset.steps()
    np.testing.assert_array_equal(rows["action"], np.concatenate([steps % 4, (steps + 1) % 4]))
    np.testing.assert_array_equal(rows["reward"], np.tile(steps, 2))
    assert np.flatnonzero(rows["truncated"]).tolist() == [9 - first, 9 - first + len(steps)]
    assert int(rows["terminated"].sum()) == (0 if first else 2)
    assert len(dataset.episodes) == (4 if first else 6)


def test_what_is_no_buffer_of_images(tmp_path: Path) -> None:
    """Other objects, empty buffers and buffers of numbers are refused, and leave nothing."""
    numbers = ReplayBuffer(8, spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4))
    for given in (object(), filled(ReplayBuffer, IMAGE, 40, steps=0), numbers):
        with refused(ConfigError, "no replay buffer"):
            import_replay_buffer(given, tmp_path / "out")
        assert not (tmp_path / "out").exists()
