"""Program of tests/install/test_serving.py: serves a model while some modules cannot be imported.

    python serving.py MODEL FRAMES.npy LATENTS.npy MODULE,MODULE [OS_NAME,OS_NAME]

It loads the encoder, encodes the frames, and steps a wrapped environment and a wrapped vector
environment. It writes the latents, and prints the error of what needs torch.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from typing import Any

MODEL, FRAMES, LATENTS, BLOCKED, *REMOVED = sys.argv[1:]


class Absent(MetaPathFinder):
    """Finds nothing, and lets nobody else look, for some modules."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in BLOCKED.split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


for module in set(sys.modules):
    if module.partition(".")[0] in BLOCKED.split(","):
        del sys.modules[module]
sys.meta_path.insert(0, Absent())

import multiprocessing.connection  # noqa: E402  the standard library's own use of these names
import shutil  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402

for name in REMOVED[0].split(",") if REMOVED else ():
    for owner in (os, signal, socket):
        if hasattr(owner, name):
            delattr(owner, name)
del multiprocessing, shutil, subprocess, tempfile

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402

import rl_vae  # noqa: E402
from rl_vae.errors import MissingPackageError  # noqa: E402


class Noise(gym.Env[Any, Any]):
    """Images of noise."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


encoder = rl_vae.Encoder.load(MODEL, threads=1)
np.save(LATENTS, encoder.encode(np.load(FRAMES)))
shape = encoder.observation_shape
env = rl_vae.LatentObservation(Noise(shape), MODEL, stack=2, actions=1)
first = env.reset(seed=0)[0]
assert first in env.observation_space and env.step(1)[0] in env.observation_space
envs = rl_vae.VectorLatentObservation(
    gym.vector.SyncVectorEnv([lambda: Noise(shape)] * 2), encoder, stack=2
)
envs.reset(seed=0)
assert envs.step(envs.action_space.sample())[0] in envs.observation_space
loaded = {name.partition(".")[0] for name in sys.modules} & set(BLOCKED.split(","))
assert not loaded, loaded
if "torch" in BLOCKED.split(","):
    for action in (
        lambda: encoder.vae,
        lambda: encoder.objective,
        lambda: encoder.reconstruct(np.load(FRAMES)),
        lambda: rl_vae.Encoder.load(MODEL, device="cuda"),
        lambda: rl_vae.VAE,
        lambda: rl_vae.train_vae,
        lambda: rl_vae.WatchLatents,
    ):
        try:
            action()
        except MissingPackageError as error:
            print(error)
        else:
            raise AssertionError("no error")
