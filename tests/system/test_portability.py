"""Modules and functions that only POSIX has: reading, encoding and wrapping work without them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from rl_vae import Encoder

WINDOWS = """
import os, sys
for name in sys.argv.pop().split():
    sys.modules[name] = None
for name in ("O_NOFOLLOW", "O_DIRECTORY"):
    delattr(os, name)
os.supports_dir_fd.clear()
"""


def run_without_posix(code: str, path: Path, modules: str) -> str:
    """Run code in a process without these modules and without descriptors of folders."""
    command = [sys.executable, "-c", WINDOWS + code, str(path), modules]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_an_encoder_works_without_posix(model: Path) -> None:
    """A model is loaded, and frames are encoded to the same codes."""
    code = (
        "import numpy as np\n"
        "from rl_vae import Encoder, LatentObservation\n"
        "encoder = Encoder.load(sys.argv[1])\n"
        "frames = np.full((2, *encoder.spec.shape), 7, np.uint8)\n"
        "print(encoder.encode(frames).tobytes().hex())\n"
    )
    encoder = Encoder.load(model)
    frames = np.full((2, *encoder.spec.shape), 7, np.uint8)
    assert (
        run_without_posix(code, model, "fcntl resource pwd grp termios").strip()
        == encoder.encode(frames).tobytes().hex()
    )


def test_files_are_written_without_posix(tmp_path: Path) -> None:
    """Files are written, appended to, locked and renamed by path."""
    code = (
        "from pathlib import Path\n"
        "from rl_vae.errors import DatasetError\n"
        "from rl_vae.system import files, locks, strict_json\n"
        "folder = Path(sys.argv[1]) / 'x.partial'\n"
        "files.make_folder(folder)\n"
        "with locks.locked(folder, DatasetError):\n"
        "    files.write_whole(folder / 'a', b'1')\n"
        "    files.write_whole(folder / 'a', b'2')\n"
        "    strict_json.append_line(folder / 'b', {'c': 1})\n"
        "    strict_json.append_line(folder / 'b', {'c': 2})\n"
        "files.rename_folder(folder, folder.with_name('x'))\n"
        "print((folder.with_name('x') / 'a').read_text(), end='')\n"
        "print(strict_json.read_lines(folder.with_name('x') / 'b'))\n"
    )
    assert run_without_posix(code, tmp_path, "resource pwd grp") == "2[{'c': 1}, {'c': 2}]\n"
