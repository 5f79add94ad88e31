"""benchmarks/study_heads.py: runs that are kept from machine to machine, and their page."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jobs import HereExecutor
from little_models import COMPARISON

from rl_vae.analysis.comparison import runner

ROOT = Path(__file__).resolve().parents[2]
LITTLE = replace(COMPARISON, baselines=("autoencoder",))


@pytest.fixture(scope="module")
def study() -> Any:
    """The script, with its folder on the import path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("study_heads")


@pytest.fixture(scope="module")
def kept(study: Any) -> Any:
    """The module of kept runs."""
    return importlib.import_module("kept_runs")


def run(study: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["study_heads.py", *map(str, arguments)])
    study.main()


def made_up(system: str, seed: int, value: float, world: str = "sprites") -> dict[str, Any]:
    """A run with this return."""
    result = {
        "system": system.removeprefix("head "),
        "return": value,
        "returns": [value],
        "scores": {},
        "agent_steps": 10,
        "pretraining_frames": 5,
        "seconds": {"vae": 1.0, "agent": 1.0},
    }
    here = {"processor": "a processor", "cores": 2}
    names = {"task": world, "system": system, "seed": seed}
    return {**names, "commit": "abc", "machine": here, "settings": "", "result": result}


def test_settings_of_a_later_version_are_equal(study: Any, kept: Any) -> None:
    """The digest has what differs from the defaults, and not the seeds."""
    config = study.WORLDS["sprites"]
    assert kept.settings_of(replace(config, seeds=(4, 5))) == kept.settings_of(config)
    assert kept.settings_of(replace(config, frames=64)) != kept.settings_of(config)
    assert kept._changed(study.TrainConfig()) == {}  # fields with a default_factory, too
    train = replace(config.train, heads=study.Heads(reward=1.0))
    assert kept.settings_of(replace(config, train=train)) != kept.settings_of(config)
    digests = {
        kept.settings_of(part.config)
        for plain in study.WORLDS.values()
        for part in study.parts_of(plain)
    }
    assert len(digests) == 4 * len(study.WORLDS)


def test_the_page_has_every_cell(
    study: Any, kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paired differences with Student's t interval; intervals without 0 are bold; one seed has
    none; worlds and systems that were not run are named."""
    file, figures = tmp_path / "heads_study.json", tmp_path / "figures.json"
    runs = [
        *(made_up("beta1", seed, 1.0 + seed) for seed in range(3)),
        *(made_up("head beta1", seed, 3.0 + seed + 0.1 * seed) for seed in range(3)),
        made_up("beta4", 0, 1.0),
        made_up("head beta4", 0, 0.5),
        made_up("linear", 0, 1.0),
        made_up("head linear", 1, 5.0),  # no seed has both
    ]
    kept.write_runs(file, runs)
    run(study, monkeypatch, "--file", file, "--write", "--json", figures)
    page = (tmp_path / "heads_study.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| sprites | not run"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "sprites",
        "not run",  # autoencoder
        "**+2.10 (+1.85 to +2.35), 3 seeds**",
        "-0.50 (one seed)",
        "not run",
    ]
    assert "| pong | not run | not run | not run | not run |" in page
    assert page.partition("## pong")[2].strip() == "Not run."
    assert "pixels, seed 2" in page
    stored = json.loads(figures.read_bytes())["figures"]
    assert stored["sprites_head_minus_none_beta1"] == pytest.approx(2.1)
    assert stored["sprites_mean_return_head_beta1"] == pytest.approx(4.1)


@pytest.mark.slow
def test_a_new_machine_adds_seeds_to_the_kept_runs(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept runs are not run again, in another folder too; those of other settings are."""
    monkeypatch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor())
    monkeypatch.setitem(study.WORLDS, "sprites", LITTLE)
    file = tmp_path / "heads_study.json"
    command = ["--world", "sprites", "--workers", 1, "--file", file]
    run(study, monkeypatch, *command, "--seeds", 1, "--out", tmp_path / "one")
    first = study.read_runs(file)
    names = ["autoencoder", "beta4", "head autoencoder", "head beta4", "head linear"]
    assert [each["system"] for each in first] == [*names, "linear"]
    assert all("matrices" not in each["result"] for each in first)
    # Another machine
    run(study, monkeypatch, *command, "--seeds", 2, "--out", tmp_path / "two")
    runs = study.read_runs(file)
    assert len(runs) == 12 and [each for each in runs if each["seed"] == 0] == first
    models = (tmp_path / "two" / "sprites" / "no_head" / "models").iterdir()
    assert {path.name.split("-")[1] for path in models} == {"seed1"}
    # Nothing is left to do
    run(study, monkeypatch, *command, "--seeds", 2, "--out", tmp_path / "three")
    assert not (tmp_path / "three").exists() and study.read_runs(file) == runs
    # Other settings
    monkeypatch.setitem(study.WORLDS, "sprites", replace(LITTLE, episodes=1))
    run(study, monkeypatch, *command, "--seeds", 1, "--out", tmp_path / "four")
    changed = [each for each in study.read_runs(file) if len(each["result"]["returns"]) == 1]
    assert {each["seed"] for each in changed} == {0} and len(changed) == 6


def test_the_page_is_written_from_the_kept_runs(study: Any, tmp_path: Path) -> None:
    """docs/heads_study.md is what the script writes from docs/heads_study.json."""
    runs = study.read_runs(ROOT / "docs" / "heads_study.json")
    study.write_page(tmp_path / "heads_study.md", study.systems_of_worlds(), runs)
    assert (tmp_path / "heads_study.md").read_text() == (
        ROOT / "docs" / "heads_study.md"
    ).read_text()
