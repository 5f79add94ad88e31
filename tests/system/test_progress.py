"""Progress: plain lines without a terminal, nothing if it is switched off."""

import subprocess
import sys

import pytest

from rl_vae.system import progress


def test_without_a_terminal_lines_show_done_and_total(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line holds the description, done and total, and the postfix; there is no bar."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with progress.progress_bar(total=3, desc="frames", unit=" frames") as bar:
        for number in range(3):
            bar.set_postfix(loss=number)
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("frames: 100%") and "3/3" in lines[-1] and "loss=2" in lines[-1]
    assert not any("\r" in line or "#" in line for line in lines)


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Work that ends within the first seconds prints no line."""
    for _ in progress.progress_bar(range(100)):
        pass
    assert capsys.readouterr().err == ""


def test_progress_can_be_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    """With progress=False nothing is printed."""
    assert list(progress.progress_bar(range(3), progress=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_killed_process_does_not_block_the_others() -> None:
    """A process that was killed while it held tqdm's lock, which forked processes share, does not
    block the progress of another one."""
    program = """
import multiprocessing, os
from tqdm import tqdm
from rl_vae.system.progress import progress_bar, write_line

def die():
    tqdm.get_lock().acquire()
    os._exit(9)

child = multiprocessing.get_context("fork").Process(target=die)
child.start()
child.join()
print(list(progress_bar(range(3))))
write_line("a line")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "[0, 1, 2]\na line\n", done.stderr
