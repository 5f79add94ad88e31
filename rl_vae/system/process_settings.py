"""configure_process: defaults for headless, quiet processes, set before torch is imported."""

from __future__ import annotations

import contextlib
import os
import sys


def configure_process() -> None:
    """Set defaults for headless rendering, quiet output and waiting OpenMP threads.

    Call this function in processes that rl_vae owns, before they import torch. Variables that are
    already set keep their values.

    - Nothing that changes what an environment draws: see `prepare_display`.
    - SDL uses no sound card. pygame and ALE print no banner.
    - OpenMP threads sleep while they wait (OMP_WAIT_POLICY=PASSIVE). Beside another busy process,
      spinning threads made training of a VAE on two cores eight times slower: 106 instead of 797
      frames per second.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    prepare_display()
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with contextlib.suppress(ImportError):
        import ale_py

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


def prepare_display() -> None:
    """Let SDL draw into memory if this machine has no display.

    The driver is "offscreen". Some environments do not draw at all if it is "dummy". On a machine
    with a display, and if the variable is set already, nothing changes.
    """
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in displays):
        os.environ.setdefault("SDL_VIDEODRIVER", "offscreen")


def limit_threads(threads: int) -> None:
    """Let torch and OpenMP compute with so many threads, in this process and in its workers."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def default_threads() -> int:
    """Number of threads of a computation: torch's if torch is loaded.

    Otherwise OMP_NUM_THREADS, or the number of cores that this process may use.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    number = os.environ.get("OMP_NUM_THREADS", "")
    if number.isdecimal() and int(number):
        return int(number)
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
