"""The demo, with a game and budgets that take seconds."""

import base64
import importlib
import json
import math
import signal
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from little_games import DRIVE

from rl_vae.agents.agent import Agent
from rl_vae.agents.recipe import load_recipe
from rl_vae.analysis.report import Report
from rl_vae.cli import demo, demo_beta, main
from rl_vae.cli.app import COMMANDS
from rl_vae.cli.demo import run_demo
from rl_vae.cli.demo_folder import Stopwatch
from rl_vae.cli.demo_page import open_page
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.models.encoder import Encoder
from rl_vae.system import strict_json
from rl_vae.training.train import train_vae

pytestmark = pytest.mark.slow

FIGURES = {
    "mean_return",
    "ci_low",
    "ci_high",
    "random_return",
    "seconds_total",
    "seconds_collect",
    "seconds_vae",
    "seconds_agent",
}


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A demo's folder and, beside it, what it printed and its figures."""
    at = tmp_path_factory.mktemp("demo")
    recipe = load_recipe("ppo_car_racing")
    short = {"n_steps": 32, "batch_size": 32, "n_epochs": 1}
    hyperparameters = {**recipe.hyperparameters, **short}
    recipe = replace(recipe, total_steps=128, n_envs=2, hyperparameters=hyperparameters)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "ENV_ID", DRIVE)
        patch.setattr(demo, "N_FRAMES", 128)
        patch.setattr(demo, "VAE_STEPS", 3)
        patch.setattr(demo, "BATCH", 32)
        patch.setattr(demo, "EPISODES", 4)
        patch.setattr(demo, "load_recipe", lambda name: {"ppo_car_racing": recipe}[name])
        patch.setattr("os.cpu_count", lambda: 1)
        printed: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: printed.append(" ".join(words)))
        main(["demo", "--out", str(at / "run"), "--json", str(at / "figures.json"), "--seed", "3"])
        (at / "printed.txt").write_text("\n".join(printed))
    signal.signal(signal.SIGTERM, before)
    yield at


def test_the_demo_leaves_all_that_it_made(demo_folder: Path) -> None:
    """Dataset, encoder and agent of a demo can be opened; its pictures and films are there."""
    out = demo_folder / "run"
    assert len(FrameDataset.open(out / "data")) == 128
    assert Encoder.load(out / "vae").latent_dim == 32
    agent = Agent.load(out / "agent")
    assert agent.env_id == DRIVE and agent.seed == 3
    for name in ("index.html", "result.json", "curve.svg", "poster.png", "drive.mp4", "drive.gif"):
        assert (out / name).stat().st_size > 100, name


def test_the_figures_of_the_demo(demo_folder: Path) -> None:
    """result.json holds every figure that was promised, finite, in order; --json holds the same."""
    content = json.loads((demo_folder / "run" / "result.json").read_bytes())
    assert set(content) == {"figures", "seeds", "machine", "versions"}
    figures = content["figures"]
    assert set(figures) >= FIGURES
    assert all(math.isfinite(value) for value in figures.values())
    assert figures["ci_low"] < figures["mean_return"] < figures["ci_high"]
    parts = [figures[f"seconds_{part}"] for part in ("collect", "vae", "agent")]
    assert min(parts) > 0 and sum(parts) < figures["seconds_total"]
    assert content["seeds"] == [3]
    assert json.loads((demo_folder / "figures.json").read_bytes())["figures"] == figures


class Links(HTMLParser):
    """Every file that a page names, every tag it opens, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.files += [value or "" for name, value in attrs if name in ("src", "href", "poster")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_one_file(demo_folder: Path) -> None:
    """Film and pictures are in index.html, bit for bit; it names no other file or address."""
    page = Links()
    page.feed((demo_folder / "run" / "index.html").read_text("utf-8"))
    assert {"video", "img", "table", "h1"} <= set(page.tags)
    assert all(name.startswith("data:") for name in page.files)
    contents = [base64.b64decode(name.partition("base64,")[2]) for name in page.files]
    for name in ("drive.mp4", "poster.png", "curve.svg", "vae/pictures/traversals.png"):
        assert (demo_folder / "run" / name).read_bytes() in contents


def test_the_page_says_how_it_was_made_and_what_comes_next(
    demo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """index.html has the command, versions and machine; commands of the next steps are parsed."""
    page = Links()
    page.feed((demo_folder / "run" / "index.html").read_text("utf-8"))
    folder = demo_folder / "run"
    assert f"rl-vae demo --seed 3 --engine auto --out {folder}" in page.text
    assert "stable-baselines3" in page.text and "cores" in page.text
    lines = [line for line in page.text.splitlines() if line.startswith("rl-vae ")]
    assert len(lines) == 5, lines
    for line in lines:
        known = [word for word in line.split() if word.startswith(str(folder))]
        assert all(Path(word).is_dir() for word in known)
        name, *arguments = line.split()[1:]
        if name == "train-vae":  # it reads the dataset that the line above it writes
            continue
        module = importlib.import_module(f"rl_vae.cli.{COMMANDS[name].module}")
        kind = getattr(module, COMMANDS[name].name).for_arguments(arguments)
        monkeypatch.setattr(kind, "run", lambda self: None)
        main([name, *arguments])


def test_the_page_tells_the_figures(demo_folder: Path) -> None:
    """index.html shows the mean return, its interval and what a random policy gets."""
    page = Links()
    page.feed((demo_folder / "run" / "index.html").read_text("utf-8"))
    figures = json.loads((demo_folder / "run" / "result.json").read_bytes())["figures"]
    for name in ("mean_return", "ci_low", "ci_high", "random_return"):
        assert f"{figures[name]:,.0f}" in page.text
    assert "nan" not in page.text and DRIVE in page.text


def test_the_demo_prints_each_step(demo_folder: Path) -> None:
    """The demo prints its four steps, both policies with their intervals, and where the page is."""
    printed = (demo_folder / "printed.txt").read_text()
    places = [printed.index(f"{step}/4") for step in (1, 2, 3, 4)]
    assert places == sorted(places)
    assert printed.count("95 % interval") == 2 and "random" in printed
    assert str(demo_folder / "run" / "index.html") in printed


def test_an_interrupted_demo_goes_on(demo_folder: Path, tmp_path: Path) -> None:
    """Where run.json says that a demo was interrupted, other settings are refused, not the folder;
    the seconds of steps that were done count once."""
    strict_json.write_json(tmp_path / "run.json", {"seed": 3, "engine": "envpool"})
    with pytest.raises(ConfigError, match="an interrupted run with other settings"):
        run_demo(tmp_path, seed=4)
    clock = Stopwatch(tmp_path / "seconds.jsonl")
    first = clock.lap("collect")
    again = Stopwatch(tmp_path / "seconds.jsonl")
    assert again.lap("collect") == first
    assert again.total >= first


def test_a_folder_that_is_not_free_is_refused(demo_folder: Path) -> None:
    """A demo into the folder of another one is a ConfigError that says how to go on."""
    before = sorted((demo_folder / "run").rglob("*"))
    with pytest.raises(ConfigError) as caught:
        run_demo(demo_folder / "run")
    assert caught.value.expected and caught.value.got and caught.value.remedy
    assert sorted((demo_folder / "run").rglob("*")) == before


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"seed": 1000}, {"engine": "unreal"}], ids=str)
def test_bad_settings_are_refused_before_anything_is_made(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seed or an engine that cannot be is refused before the first step; nothing is written."""

    def too_far(*_: Any, **__: Any) -> None:
        raise AssertionError("it went on to train")

    monkeypatch.setattr(demo, "train_vae", too_far)
    monkeypatch.setattr(demo, "N_FRAMES", 64)
    with pytest.raises(ConfigError):
        run_demo(tmp_path / "run", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_of_betas_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--beta trains a model for each beta and seed, prints their means, writes the report and its
    figures, and opens the page only if there is a display."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(demo_beta, "train_sweep", train_here)
    monkeypatch.setattr(demo_beta, "write_report", report_quickly)
    for name, value in {"BETAS": (4.0,), "SEEDS": 2, "STEPS": 2, "N_FRAMES": 256}.items():
        monkeypatch.setattr(demo_beta, name, value)
    out = tmp_path / "run"
    main(["demo", "--beta", "--seed", "5", "--out", str(out), "--json", str(tmp_path / "j.json")])
    page, printed = (out / "index.html").read_text("utf-8"), capsys.readouterr().out
    assert page == "beta4-seed5 beta4-seed6"
    assert str(out / "index.html") in printed and printed.count("1/3") == 1
    content = json.loads((out / "result.json").read_bytes())
    figures = content["figures"]
    assert content["seeds"] == [5, 6] and figures["seconds_total"] > 0
    assert printed.count("5.50 (-0.85 to 11.85)") == 4  # 5 and 6
    assert json.loads((tmp_path / "j.json").read_bytes())["figures"] == figures
    assert not (out / "run.json").exists() and not opened
    # With a display the page is opened.
    monkeypatch.setenv("DISPLAY", ":0")
    open_page(out / "index.html")
    assert opened == [(out / "index.html").as_uri()]


def report_quickly(page: Path, models: list[Path], dataset: Path, seed: int) -> Report:
    """A report of names alone, with measures that are the models' seeds: a real one takes long."""
    names = [Encoder.load(path).path.name for path in models]
    assert len(FrameDataset.open(dataset)) == 256 and seed == 5
    page.write_text(" ".join(names))
    measures = ("distortion", "rate", "MIG", "DCI_disentanglement")
    figures = {f"{n.replace('-', '_')}_{m}": float(n[-1]) for n in names for m in measures}
    return Report(page, 0, (), 0.0, figures)


def train_here(dataset: Any, out: Path, runs: dict[str, Any], vae: Any) -> dict[str, Any]:
    """Train the models of a sweep in this process: processes take seconds to start."""
    return {
        name: train_vae(dataset, out / name, vae, each, progress=False)
        for name, each in runs.items()
    }
