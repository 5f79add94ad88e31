"""benchmarks/study_minutes.py: returns at budgets of minutes, and their page."""

import importlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from benchmark_tasks import write_tasks

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
refreshes = []
checks = 0

[cartpole]
env_id = "LINE"
recipe = "RECIPE"
frames = 64
vae_steps = 3
batch_size = 16
spec = { height = 40, width = 40 }
vae = { latent_dim = 4 }
longest_episode = 15
[cartpole.pixels]
hyperparameters = { n_steps = 32, batch_size = 32, n_epochs = 1, learning_rate = "linear 1e-3" }
"""


@pytest.fixture(scope="module")
def study() -> Any:
    """The script, with its folder on the import path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("study_minutes")


def made_up(system: str, seed: int, *means: float | None, task: str = "cartpole") -> dict[str, Any]:
    """A run with budgets of 5, 10, ... minutes, with two episodes around each mean."""
    figures = {"cpu_minutes": 9.0, "other_cores": 0.25, "decisions": 1000, "ended": False}
    points = [
        {
            "budget": 5.0 * number,
            "minutes": 5.0 * number,
            "returns": None if mean is None else [mean - 1, mean + 1],
            **figures,
        }
        for number, mean in enumerate(means, 1)
    ]
    names = {"task": task, "system": system, "seed": seed, "engine": "gymnasium", "commit": "abc"}
    here = {"processor": "a processor", "cores": 2}
    return {**names, "episodes": 2, "threads": 2, "points": points, "machine": here}


def run(study: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    values = ["study_minutes.py", *arguments]
    monkeypatch.setattr("sys.argv", [str(value) for value in values])
    study.main()


def test_the_page_has_all_cells_and_says_where_ours_is_not_best(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells are means over seeds with Student's t interval; a budget without a policy, a system
    that was not run and a single seed are named; each cell above ours is listed, others are not."""
    file, figures = tmp_path / "minutes_study.json", tmp_path / "figures.json"
    runs = [
        made_up("ours", 0, None, 20.0),
        made_up("ours", 1, None, 40.0),
        made_up("ours_head", 0, None, 10.0),
        made_up("zoo", 0, 5.0, 6.0),
        made_up("zoo", 1, 5.0, 12.0),
        made_up("envpool_cnn", 0, 3.0, 31.0),
        made_up("zoo", 0, 2.0, task="pong"),
    ]
    study.write_runs(file, runs)
    run(study, monkeypatch, "--file", file, "--write", "--json", figures)
    page = (tmp_path / "minutes_study.md").read_text()
    lines = page.splitlines()
    assert "| ours | no policy yet in 2 of 2 | 30 [-97.06, 157.1] (2) |" in lines
    assert "| zoo | 5 [5, 5] (2) | 9 [-29.12, 47.12] (2) |" in lines
    assert "| envpool_cnn | 3 (1) | 31 (1) |" in lines
    assert "| sbx | not run | not run |" in lines
    above = page.partition("## Where ours is not best")[2].partition("## Not compared")[0]
    losses = [line.split(" | ")[:3] for line in above.splitlines() if line.startswith("| cartpole")]
    assert losses == [
        ["| cartpole", "5", "zoo"],
        ["| cartpole", "5", "envpool_cnn"],
        ["| cartpole", "10", "envpool_cnn"],
    ]
    assert "| pong" not in above  # ours was not run there
    assert (tmp_path / "minutes-cartpole.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "minutes-sprites.png").exists()
    assert json.loads(figures.read_bytes())["figures"]["cartpole_ours_10_return"] == 30.0


def test_a_newer_run_replaces_the_stored_one(study: Any, tmp_path: Path) -> None:
    """The file has one run of each name, the newest, and a run with fewer budgets is not stored
    for more."""
    file = tmp_path / "runs.json"
    study.write_runs(file, [made_up("zoo", 0, 1.0), made_up("ours", 0, 1.0)])
    name = ("cartpole", "zoo", 0)
    assert study.is_stored(study.read_runs(file), name, [5])
    assert not study.is_stored(study.read_runs(file), name, [5, 10])
    study.write_runs(file, [*study.read_runs(file), made_up("zoo", 0, 2.0, 3.0)])
    assert len(study.read_runs(file)) == 2
    assert study.is_stored(study.read_runs(file), name, [5, 10])


def test_episodes_do_not_count(study: Any) -> None:
    """The meter stops while episodes are played, records all budgets that are spent, and ends the
    run after the longest."""
    module = importlib.import_module("minutes_meter")
    lines: list[str] = []

    def player() -> list[float]:
        time.sleep(1.0)
        return [1.0, 2.0]

    with module.Meter([0.0, 0.001, 100.0], lines.append) as meter:
        time.sleep(0.1)
        assert meter.due
        meter.record(player, 7)
        assert not meter.due
        assert meter.points[1]["minutes"] < meter.minutes
        with pytest.raises(module.Spent):
            meter.record(None, 8, ended=True)
    assert [point["budget"] for point in meter.points] == [0.0, 0.001, 100.0]
    assert [point["returns"] for point in meter.points] == [[1.0, 2.0], [1.0, 2.0], None]
    assert meter.points[0]["minutes"] >= 0.1 / 60
    waited = (meter.points[2]["minutes"] - meter.points[0]["minutes"]) * 60
    assert waited < 1.0  # the second of the episodes is left out


@pytest.mark.slow
def test_a_run_is_recorded_once(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours has no policy before its first agent, and keeps its last one until the longest budget;
    a training on pixels ends with the longest budget; a run that is stored is not repeated."""
    settings = write_tasks(tmp_path, monkeypatch, SETTINGS, total_steps=128)
    file = tmp_path / "minutes_study.json"
    command = ["--tasks", "cartpole", "--seeds", 1, "--episodes", 2, "--threads", 1024]
    command += ["--settings", settings, "--file", file, "--out", tmp_path / "out"]
    ours = [*command, "--systems", "ours_head", "--budgets", 1e-6, 1000]
    run(study, monkeypatch, *ours)
    run(study, monkeypatch, *command, "--systems", "zoo", "--budgets", 0.01)
    before = file.read_bytes()
    run(study, monkeypatch, *ours)
    assert file.read_bytes() == before
    first, second = study.read_runs(file)
    assert [point["returns"] is None for point in first["points"]] == [True, False]
    assert first["points"][1]["ended"] and first["points"][1]["decisions"] == 128
    assert 0 < first["points"][1]["minutes"] < 1000
    (point,) = second["points"]
    assert len(point["returns"]) == 2 and not point["ended"] and point["minutes"] >= 0.01
    assert not list((tmp_path / "out").iterdir())


def test_the_page_is_written_from_the_stored_runs(study: Any, tmp_path: Path) -> None:
    """docs/minutes_study.md is what the script writes from docs/minutes_study.json."""
    runs = study.read_runs(ROOT / "docs" / "minutes_study.json")
    study.write_page(tmp_path / "minutes_study.md", runs)
    stored = (ROOT / "docs" / "minutes_study.md").read_text()
    assert (tmp_path / "minutes_study.md").read_text() == stored
