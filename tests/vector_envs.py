"""What tests of vector environments share: a run with random actions, and child processes."""

import contextlib
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_vae.envs.vector_env import PixelVectorEnv
from rl_vae.frames import FrameSpec

SPEC = FrameSpec(32, 32)
SEEDS = (0, 3, 8, 13, 21)


def children(pid: int | str = "self") -> set[int]:
    """Ids of the child processes of a process, including children that have ended."""
    pids: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            pids.update(map(int, path.read_text().split()))
    return pids


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run(envs: PixelVectorEnv, seeds: Any = SEEDS, steps: int = 25, seed: int = 0) -> list[Any]:
    """All arrays that some steps with random actions return, factors included."""
    rng = np.random.default_rng(seed)
    try:
        out: list[Any] = [envs.reset(seeds), envs.factors()]
        for _ in range(steps):
            if isinstance(envs.action_space, gym.spaces.Box):
                actions: Any = rng.uniform(-1, 1, (len(seeds), *envs.action_space.shape))
                actions = actions.astype(np.float32)
            else:
                assert isinstance(envs.action_space, gym.spaces.Discrete)
                actions = rng.integers(0, envs.action_space.n, len(seeds))
            out += [*envs.step(actions)[:5], envs.factors()]
        return out
    finally:
        envs.close()


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists of arrays are equal in type and value."""
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True)
    )
