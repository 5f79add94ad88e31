"""The examples that encode raw images without rl_vae: in Python and in C++."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import little_models
import numpy as np
import onnxruntime
import pytest

from rl_vae import Encoder, export_encoder

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COMPILER = shutil.which("g++") or shutil.which("clang++")
LIBRARIES = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with encoder.onnx, raw images, and their codes by rl_vae."""
    folder, encoder = tmp_path_factory.mktemp("encode"), Encoder.load(little_models.model())
    export_encoder(encoder.path, folder / "encoder.onnx")
    images = np.random.default_rng(0).integers(0, 256, (9, *encoder.observation_shape), np.uint8)
    return folder, images, encoder.encode_observations(images)


def test_python_without_rl_vae(case: tuple[Path, np.ndarray, np.ndarray]) -> None:
    """The codes equal those of rl_vae within 1e-5; the program imports neither it nor torch."""
    folder, images, codes = case
    np.save(folder / "images.npy", images)
    text = (EXAMPLES / "encode_images.py").read_text()
    blocked = "import sys\nsys.modules['rl_vae'] = sys.modules['torch'] = None\n"
    (folder / "program.py").write_text(blocked + text)
    command = [sys.executable, "program.py", "encoder.onnx", "images.npy", "codes.npy"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.abs(np.load(folder / "codes.npy") - codes).max() < 1e-5


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler (apt-get install g++)")
@pytest.mark.skipif(not LIBRARIES, reason="this onnxruntime has no shared library (1.31 has)")
def test_cpp(case: tuple[Path, np.ndarray, np.ndarray]) -> None:
    """The C++ program is built without a warning; its codes equal those of rl_vae within 1e-5."""
    folder, images, codes = case
    assert COMPILER is not None
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    source = EXAMPLES / "cpp" / "encode.cpp"
    command = [COMPILER, *flags, str(source), "-o", str(folder / "encode"), "-ldl"]
    subprocess.run(command, check=True)
    library = str(LIBRARIES[0])
    run = [str(folder / "encode"), library, str(folder / "encoder.onnx")]
    done = subprocess.run(run, input=images.tobytes(), capture_output=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    got = np.frombuffer(done.stdout, np.float32).reshape(codes.shape)
    assert np.abs(got - codes).max() < 1e-5
    done = subprocess.run(run, input=images.tobytes()[:-1], capture_output=True)
    assert done.returncode == 1 and b"not whole" in done.stderr
    done = subprocess.run([run[0], library, "absent.onnx"], input=b"", capture_output=True)
    assert done.returncode == 1 and b"absent.onnx" in done.stderr
