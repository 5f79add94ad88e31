"""os._exit() in guarded code: an exception there, the end of the process elsewhere."""

import os

import pytest

from rl_vae.system.exits import exits_are_faults


def test_an_exit_raises_while_a_guard_is_active() -> None:
    """os._exit raises in nested guards, and is itself again after the last one."""
    end_process = os._exit
    with exits_are_faults():
        with exits_are_faults(), pytest.raises(SystemExit, match=r"os\._exit\(3\)"):
            os._exit(3)
        with pytest.raises(SystemExit):
            os._exit(0)
    assert os._exit is end_process


def test_a_process_that_the_block_forks_ends() -> None:
    """A child process ends with its status."""
    with exits_are_faults():
        child = os.fork()
        if not child:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
