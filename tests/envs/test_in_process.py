"""InProcessVectorEnv: environments whose close() raises or takes long."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from environments import Counting

from rl_vae import collect_frames
from rl_vae.envs import in_process
from rl_vae.envs.registry import make_engine


class Unclosable(Counting):
    """Its close() raises the exception `problem`."""

    def __init__(self, problem: type[BaseException] = ZeroDivisionError, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problem = problem

    def close(self) -> None:
        raise self.problem("not closed")


class Slow(Counting):
    """Its close() takes a while."""

    def close(self) -> None:
        time.sleep(0.3)


@pytest.mark.parametrize("problem", [ZeroDivisionError, SystemExit])
def test_a_close_that_raises_is_a_warning(problem: type[BaseException]) -> None:
    """An environment whose close() raises is a warning, and the others are closed, too."""
    envs = make_engine(Unclosable, 2, workers=1, env_kwargs={"problem": problem})
    envs.reset([1, 2])
    with pytest.warns(RuntimeWarning, match=f"Unclosable cannot be closed: {problem.__name__}"):
        envs.close()
    envs.close()  # nothing is left to close


@pytest.mark.filterwarnings("ignore:Unclosable cannot be closed")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_close_that_raises_stops_no_collection(workers: int, tmp_path: Path) -> None:
    """Frames of an environment that cannot be closed are collected."""
    data = collect_frames(Unclosable, tmp_path / "data", n_frames=64, workers=workers)
    assert len(data) == 64


class Waiting(Counting):
    """Its close() does not end by itself."""

    def close(self) -> None:
        time.sleep(600)


def test_a_close_without_an_end_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose close() waits is given up; SIGALRM has its default action again."""
    monkeypatch.setattr(in_process, "MAX_CLOSE", 0.05)
    envs = make_engine(Waiting, 2, workers=1)
    with pytest.warns(RuntimeWarning, match="Waiting cannot be closed: TimeoutError"):
        envs.close()
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_slow_close_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An environment that takes long to close is reported on stderr; a fast one is not."""
    monkeypatch.setattr(in_process, "SLOW_CLOSE", 0.05)
    make_engine(Slow, 1, workers=1).close()
    assert "Slow has not been closed for 0.05 s" in capsys.readouterr().err
    make_engine(Counting, 1, workers=1).close()
    assert "closed" not in capsys.readouterr().err
