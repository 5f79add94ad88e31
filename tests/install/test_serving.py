"""An encoder encodes and wraps environments without torch, and without what only POSIX has."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rl_vae import Encoder

TRAINING = "torch,stable_baselines3,sklearn,scipy,tyro,onnx,onnx_ir,onnxscript,matplotlib,jinja2"
TRAINING += ",tensorboard,PIL,rich,tqdm"
POSIX = "fcntl,resource,pwd,grp,termios"
"""Modules that Windows lacks."""
POSIX_NAMES = "O_NOFOLLOW,O_DIRECTORY,O_CLOEXEC,O_NONBLOCK,fork,getppid,sched_getaffinity,SIGUSR1"
POSIX_NAMES += ",SIGALRM,SIGKILL,AF_UNIX,fchmod,mkfifo,getuid,register_at_fork,pread,pwrite"
"""Names of os, signal and socket that Windows lacks."""


def serve(encoder: Encoder, frames: NDArray[np.uint8], folder: Path, *absent: str) -> str:
    """Run the program; return what it printed."""
    given, latents = folder / "frames.npy", folder / "latents.npy"
    np.save(given, frames)
    program = Path(__file__).with_name("serving.py")
    command = [sys.executable, program, encoder.path, given, latents, *absent]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = Encoder.load(encoder.path, threads=1).encode(frames)
    np.testing.assert_array_equal(np.load(latents), expected)
    return done.stdout


def test_serving_needs_no_torch(
    encoder: Encoder, frames: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Without torch, SB3 and the libraries of training, latents are equal and wrappers step; what
    needs torch says so."""
    errors = serve(encoder, frames, tmp_path, TRAINING).splitlines()
    assert len(errors) == 7
    assert all("needs torch" in line and "pip install torch" in line for line in errors), errors


@pytest.mark.parametrize("names", [[], [POSIX_NAMES]], ids=["modules", "modules and names"])
def test_serving_needs_no_posix(
    encoder: Encoder, frames: NDArray[np.uint8], tmp_path: Path, names: list[str]
) -> None:
    """Without the modules and names that only POSIX has, latents are equal and wrappers step."""
    serve(encoder, frames, tmp_path, POSIX, *names)
