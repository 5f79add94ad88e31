"""What a notebook shows: pictures and tables of datasets, encoders, agents, scores, comparisons."""

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import pytest
from analysis.test_scorecard import estimate, make_card
from PIL import Image

from rl_vae import Agent, Encoder, FrameDataset
from rl_vae.analysis.comparison.compare import Comparison
from rl_vae.analysis.comparison.summary import summarise_runs
from rl_vae.system import html

HOSTILE = "<script>alert(1)</script>' onload='x\x1b[31m"
TAGS = set(re.findall(r"\w+", "div b table thead tbody tr th td p img svg polyline text"))


def shown(thing: Any) -> str:
    """What a notebook shows of an object: HTML of the expected tags, each of which is closed."""
    page: str = thing._repr_html_()
    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            assert tag in TAGS and not [name for name, _ in attrs if name.startswith("on")]
            if tag != "img":
                open_tags.append(tag)

        def handle_startendtag(self, tag: str, attrs: Any) -> None:
            assert tag == "polyline"

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Reader().feed(page)
    assert not open_tags and len(page) < 150_000
    return page


def image_of(page: str) -> Image.Image:
    """The picture in a page."""
    (data,) = re.findall(r"<img [^>]*src='data:image/png;base64,([^']+)'", page)
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_a_dataset_shows_its_frames(dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts, and eight frames at equal distances with their pixels. The folder is relative if it is
    inside the current one."""
    page = shown(dataset)
    assert "320 of 32 x 48 x 3" in page and "not finished" not in page
    assert f">{dataset.path}<" in page
    monkeypatch.chdir(dataset.path.parent)
    assert f">{dataset.path.name}<" in shown(dataset)
    picture = np.array(image_of(page))
    assert picture.shape == (34, 8 * 50, 3)
    np.testing.assert_array_equal(picture[1:-1, 1:49], dataset[0])
    np.testing.assert_array_equal(picture[1:-1, -49:-1], dataset[-1])


def test_a_dataset_is_shown_without_torch(dataset: FrameDataset) -> None:
    """Showing a dataset imports neither torch nor OpenCV's window functions nor matplotlib."""
    code = (
        "import sys, rl_vae; assert '<img' in rl_vae.FrameDataset.open(sys.argv[1])._repr_html_();"
        "print({'torch', 'matplotlib', 'stable_baselines3'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(dataset.path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_an_encoder_shows_what_its_latents_draw(encoder: Encoder) -> None:
    """Facts, and decoded frames: a row for each of its four latents, nine values each."""
    page = shown(encoder)
    assert "32 x 48 x 3 to 4 latents" in page and "Beta, beta 1" in page
    picture = np.array(image_of(page))
    assert picture.shape == (4 * 34, 9 * 50, 3)
    mean = np.array(encoder.statistics.latent_mean, np.float32)
    middle = picture[1:33, 4 * 50 + 1 : 4 * 50 + 49]
    error = np.abs(middle.astype(float) - encoder.decode(mean[None])[0])
    assert error.mean() < 5  # 128 colours


@pytest.mark.slow
def test_an_agent_shows_its_training() -> None:
    """Facts and the curve of its returns. Without its folder the facts are left."""
    agent = Agent.load(little_models.agent("PPO"))
    page = shown(agent)
    assert "2 codes of 4 numbers and 1 past actions" in page and "<polyline points='0," in page
    assert "not evaluated in the training" in page
    assert repr(agent).startswith("Agent('") and "PPO in little_games:" in repr(agent)
    agent.path = Path("nowhere")
    assert "Curve not available: ValueError: 0 points" in shown(agent)


def test_scores_are_shown_as_tables() -> None:
    """A scorecard shows every score of its text, each in a cell."""
    card = make_card(lambda kind, code: estimate(0.93, 0.91, 0.95))
    page = shown(card)
    assert page.count("<td>.93 (.91 .95)</td>") == str(card).count(".93 (.91 .95)") == 10
    assert "<p>A note</p>" in page


def test_a_comparison_is_shown_as_tables() -> None:
    """A comparison shows its systems and its pairs, and names of systems are escaped."""
    names = ("beta1", HOSTILE)
    run = {"agent_steps": 10, "pretraining_frames": 5, "seconds": {}, "scores": {}, "beta": None}
    runs = [
        {**run, "system": name, "seed": seed, "return": float(seed), "returns": [float(seed)]}
        for name in names
        for seed in range(3)
    ]
    page = shown(Comparison(Path("out"), summarise_runs(runs, names)))
    assert page.count("<table>") == 2 and "<td>beta1</td><td>3</td><td>1.00</td>" in page
    assert "&lt;script&gt;" in page


def test_text_of_others_is_escaped(dataset: FrameDataset, encoder: Encoder) -> None:
    """Names in a dataset, a model or a path are shown as text."""
    other = FrameDataset.open(dataset.path)
    other.path = Path(HOSTILE)
    other.header = replace(other.header, env_id=HOSTILE, policy={"kind": HOSTILE})
    assert shown(other).count("&lt;script&gt;") == 3
    model = Encoder.load(encoder.path)
    model.provenance = {**model.provenance, "env_id": HOSTILE}
    assert "&lt;script&gt;" in shown(model)
    model.provenance = {"train": HOSTILE}
    assert "digest" in shown(model)
    assert "&lt;script&gt;" in html.facts(HOSTILE, {HOSTILE: HOSTILE}, html.paragraph(HOSTILE))


def test_what_cannot_be_drawn_is_said(
    dataset: FrameDataset, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Pillow, without frames or with damaged files the facts are shown, and the reason."""
    damaged = FrameDataset.open(dataset.path)
    damaged.frame_shards = []
    assert "Picture not available: IndexError" in shown(damaged)
    monkeypatch.setitem(sys.modules, "PIL", None)
    for thing in (dataset, encoder):
        page = shown(thing)
        assert "Picture not available: ModuleNotFoundError" in page and str(thing.path) in page


@pytest.mark.parametrize("channels", [1, 3])
def test_large_frames_are_shown_small(channels: int) -> None:
    """A frame above 96 pixels loses pixels, gray frames are drawn as colour."""
    frames = np.full((2, 400, 200, channels), 7, np.uint8)
    picture = np.array(image_of(html.picture(lambda: [frames, frames], "two rows")))
    assert picture.shape == (2 * (80 + 2), 2 * (40 + 2), 3) and set(np.unique(picture)) == {7, 140}


def test_large_pictures_have_few_colours() -> None:
    """A picture of much noise takes at most half of the bytes of its pixels."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3), np.uint8)
    page = html.picture(lambda: [frames], "noise")
    assert len(page) < frames.size / 2 and len(image_of(page).getcolors() or ()) <= 128


def test_curves() -> None:
    """A constant curve is a line; a single point is none; a long curve is drawn with few points."""
    assert "points='0,80 320,80'" in html.curve(lambda: [(0, 5), (10, 5)], "flat")
    assert "Curve not available" in html.curve(lambda: [(0, 5)], "point")
    assert len(html.curve(lambda: [(x, x) for x in range(100_000)], "long")) < 3_000
