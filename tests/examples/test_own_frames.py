"""The examples with pictures and with a video of one's own, with few frames."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from jobs import HereExecutor
from PIL import Image

from rl_vae.executors.local import LocalExecutor

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run_example(name: str, shorter: dict[str, str], folder: Path) -> None:
    """Run an example in the current folder, with other numbers."""
    text = (EXAMPLES / name).read_text()
    for long, short in shorter.items():
        assert long in text
        text = text.replace(long, short)
    (folder / name).write_text(text)
    runpy.run_path(str(folder / name), run_name="__main__")


@pytest.mark.slow
def test_pictures_with_factors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each score of each beta with its interval (none of a single seed), and a page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalExecutor, "sharing_cores", lambda _: HereExecutor())
    Path("pictures").mkdir()
    rng, lines = np.random.default_rng(0), ["file_name,x,y"]
    for number in range(60):
        x, y = rng.integers(0, 3, 2)
        image = np.zeros((28, 28, 3), np.uint8)
        image[8 * y : 8 * y + 9, 8 * x : 8 * x + 9] = 200
        Image.fromarray(image).save(f"pictures/{number}.png")
        lines.append(f"{number}.png,{x},{y}")
    Path("pictures/metadata.csv").write_text("\n".join(lines))
    shorter = {"(1, 4, 16), (0, 1, 2, 3, 4), 20": "(1,), (0,), 1"}
    run_example("pictures_with_factors.py", shorter, tmp_path)
    text = capsys.readouterr().out
    assert len(re.findall(r"beta  1  \w+ +-?\d\.\d\d  95 % interval", text)) == 3, text
    assert Path("runs/pictures/report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_video_with_actions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Probes read the logged action, and the ONNX file encodes frames."""
    av = pytest.importorskip("av", reason="pip install 'rl-vae[import]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rl_vae.analysis.score.PROBES", ("linear",))
    monkeypatch.setattr("rl_vae.analysis.scorecard.PROBES", ("linear",))
    action = np.random.default_rng(0).integers(-1, 2, 120)
    with av.open("drive.mp4", "w") as video:
        stream = video.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for place in np.cumsum(action) % 3:
            image = np.zeros((32, 32, 3), np.uint8)
            image[8:24, 8 * place : 8 * place + 9] = 220
            video.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        video.mux(stream.encode(None))
    Path("drive.csv").write_text("\n".join(["action_0", *map(str, action)]))
    shorter = {"UPDATES = 1_000": "UPDATES = 5", "steps=100": "steps=15"}
    run_example("video_with_actions.py", shorter, tmp_path)
    text = capsys.readouterr().out
    assert "action (balanced, 3)" in text and "codes of 8 frames, (8, 32)" in text
