"""The error for a package that is missing or cannot be loaded names it, and what installs it."""

import pickle
import subprocess
import sys

import pytest

from rl_vae import make_env
from rl_vae.errors import EnvironmentFault, MissingPackageError

PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

class Broken(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise {raised}

sys.meta_path.insert(0, Broken())
import rl_vae
try:
    {action}
except rl_vae.errors.MissingPackageError as error:
    print(error)
"""
ABSENT = "ModuleNotFoundError('No module named ' + repr(name), name=name)"
NO_LIBRARY = "ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
CASES = {
    "OpenCV": ("cv2", ABSENT, "rl_vae.FrameSpec", "opencv-python-headless if libGL is missing"),
    "libGL": ("cv2", NO_LIBRARY, "rl_vae.FrameSpec", "opencv-python-headless, which gives"),
    "tyro": ("tyro", ABSENT, "import rl_vae.cli", "pip install tyro"),
    "SB3": ("stable_baselines3", ABSENT, "rl_vae.Agent", "pip install stable-baselines3"),
    "scikit-learn": ("sklearn", ABSENT, "rl_vae.score_encoder", "pip install scikit-learn"),
    "torch": ("torch", ABSENT, "rl_vae.Beta", "pip install torch"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_error_names_the_package_and_the_command(case: str) -> None:
    """The error is a MissingPackageError with the package's name on PyPI or of rl_vae's extra."""
    module, raised, action, remedy = CASES[case]
    program = PROGRAM.format(raised=raised, action=action)
    done = subprocess.run(
        [sys.executable, "-c", program, module], capture_output=True, text=True, check=True
    )
    assert f"needs {module}" in done.stdout and remedy in done.stdout


def test_an_import_error_without_a_name_is_passed_on() -> None:
    """An ImportError that names no module is quoted, and the error can be pickled."""
    error = MissingPackageError.of(ImportError("libfoo.so: not found"), "This")
    again = pickle.loads(pickle.dumps(error))
    assert "libfoo.so" in str(error) and str(again) == str(error)
    assert isinstance(again, ImportError)


def test_rendering_without_pygame_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """CartPole, which imports pygame when it renders first, names the extra that brings pygame."""
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'rl-vae\[box2d\]'"):
        make_env("CartPole-v1")
