"""errors: damage and failures of the system have different remedies."""

from pathlib import Path

import pytest

from rl_vae.errors import FolderError, MissingPackageError, system_failure, system_remedy


def test_a_failure_of_the_system_is_no_damage() -> None:
    """Errors of the disk, of permissions, of descriptors and of memory mean that a file could not
    be read; a missing file, and wrong content, are damage."""
    causes = [OSError(5, "I/O"), OSError(24, "too many"), PermissionError(13, ""), MemoryError()]
    for cause in causes:
        error = ValueError("damaged")
        error.__cause__ = KeyError("inner")
        error.__cause__.__cause__ = cause
        assert system_failure(error) is cause
        assert system_failure(cause) is cause
    for error in (ValueError(), FileNotFoundError(2, ""), FileNotFoundError("no such file"), None):
        assert system_failure(error) is None


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        (OSError(24, "Too many open files"), "ulimit -n"),
        (OSError(28, "No space left on device"), "free disk space"),
        (PermissionError(13, "Permission denied"), "permissions"),
        (MemoryError(), "memory"),
        (RuntimeError("[ONNXRuntimeError] : 6 : std::bad_alloc"), "memory"),
        (RuntimeError("could not create a primitive"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory"),
        (OSError(5, "Input/output error"), "check the disk"),
    ],
)
def test_the_remedy_follows_the_failure(cause: Exception, remedy: str) -> None:
    """Nobody is told to copy a folder again because the system had too few descriptors."""
    error = FolderError.damaged(Path("model/config.json"), "JSON", cause)
    assert "could not be read" in error.what and remedy in str(error.remedy)
    assert "copy" not in str(error)
    assert remedy in system_remedy(cause, "another one")


def test_damage_keeps_its_remedy() -> None:
    """A file that was read and is wrong is to be copied again."""
    error = FolderError.damaged(Path("model/config.json"), "JSON", ValueError("no JSON"))
    assert "missing or damaged" in error.what and "copy" in str(error.remedy)
    assert system_remedy(ValueError("no JSON"), "this one") == "this one"


def test_a_library_without_memory_is_not_to_be_installed_anew() -> None:
    """An import that fails for want of memory has the remedy of memory."""
    error = ImportError("libtorch_cpu.so: failed to map segment from shared object", name="torch")
    assert "ulimit -v" in str(MissingPackageError.of(error, "rl-vae evaluate").remedy)
