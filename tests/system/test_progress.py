"""Progress: plain lines without a terminal, nothing if it is switched off."""

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
