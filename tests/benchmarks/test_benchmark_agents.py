"""benchmarks/benchmark_agents.py: what a return costs from nothing, stage by stage."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from benchmark_tasks import write_tasks

from rl_vae.errors import FolderError

ROOT = Path(__file__).resolve().parents[2]
TASKS = """
test_episodes = 3

[line]
env_id = "LINE"
recipe = "RECIPE"
frames = 64
vae_steps = 3
batch_size = 16
spec = { height = 40, width = 40, crop = [0, 0, 0, 0] }
threshold = 1e9
longest_episode = 15
checks = 2
[[line.refreshes]]
frames = 64
vae_steps = 2
agent_steps = 64
[[line.refreshes]]
frames = 64
vae_steps = 2
agent_steps = 0
[line.pixels]
normalize_reward = true
hyperparameters = { n_steps = 32, batch_size = 32, n_epochs = 1, clip_range = "linear 0.1" }

[line_plain]
extends = "line"
refreshes = []
"""


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The script, with its folder on the import path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("benchmark_agents")


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with two small tasks; jobs run in this process, on one core."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    return write_tasks(tmp_path, monkeypatch, TASKS, total_steps=256)


def run(benchmark: Any, monkeypatch: pytest.MonkeyPatch, tasks: Path, *arguments: object) -> None:
    values = ["benchmark_agents.py", "--tasks", tasks, *arguments]
    monkeypatch.setattr("sys.argv", [str(value) for value in values])
    benchmark.main()


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


@pytest.mark.slow
def test_every_stage_runs_once_and_counts(
    benchmark: Any, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage leaves its seconds, a second run repeats no stage, and the results hold the cost
    of every system from nothing, refreshes included."""
    out, home = tmp_path / "runs", tmp_path / "runs" / "line" / "seed-0"
    command = ["--task", "line", "--systems", "ours", "pixels", "--seeds", 1, "--out", out]
    run(benchmark, monkeypatch, tasks, *command)
    stages = {
        path: path.read_bytes()
        for path in (*home.glob("*.json"), *home.glob("*/*.json"), *home.parent.glob("*.json"))
        if path.name not in ("config.json", "dataset.json", "run.json")
    }
    rounds = [f"{part}-{n}" for part in ("data", "vae", "check") for n in (1, 2)]
    names = ["origin", "vae", "agent", "check", *rounds, "agent-1", "check-1-agent", "test"]
    assert {path.stem for path in stages if path.parent.name == "ours"} == set(names)
    assert {path.name for path in home.glob("*.json")} == {"data.json"}
    assert not list(out.rglob("*.clock"))
    figures, results = tmp_path / "figures.json", tmp_path / "docs" / "results.json"
    run(benchmark, monkeypatch, tasks, *command, "--write", tmp_path / "R.md", "--json", figures)
    assert all(path.read_bytes() == content for path, content in stages.items())

    # Costs.
    own = {
        path.stem: json.loads(text) for path, text in stages.items() if "pixels" not in str(path)
    }
    seconds = sum(own[name]["seconds"] for name in own if name not in ("origin", "test", "uniform"))
    figure = read(figures)["figures"]
    assert figure["line_ours_minutes"] == pytest.approx(seconds / 60)
    systems = read(results)["tasks"]["line"]["systems"]
    assert systems["ours"]["frames"] == 3 * 64 + 256 + 64
    assert systems["pixels"]["frames"] == 256
    returns = own["test"]["returns"]
    assert figure["line_ours_return"] == pytest.approx(sum(returns) / len(returns))

    # The best pair of agent and VAE is tested.
    checks = [own[name] for name in ("check", "check-1", "check-1-agent", "check-2")]
    scores = {(one["agent"], one["vae"]): sum(one["returns"]) for one in checks}
    assert list(scores)[:3] == [("agent", "vae"), ("agent", "vae-1"), ("agent-1", "vae-1")]
    assert scores[own["test"]["agent"], own["test"]["vae"]] == max(scores.values())

    # Pages and pictures.
    text = (tmp_path / "R.md").read_text()
    assert "| ours |" in text and "| pixels |" in text
    assert (tmp_path / "docs" / "learning-line.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_task_without_refreshes_has_no_checks(
    benchmark: Any, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task without refreshes has one pair, which is tested and not checked. Its folder refuses
    another task."""
    command = ["--task", "line_plain", "--seeds", 1, "--out", tmp_path]
    run(benchmark, monkeypatch, tasks, *command)
    home = tmp_path / "line_plain" / "seed-0" / "ours"
    assert len(read(home / "test.json")["returns"]) == 3
    assert not list(home.glob("check*"))
    task = benchmark.read_tasks(tasks)["line_plain"]
    with pytest.raises(FolderError):
        benchmark.run_system(lambda path: path, {**task, "frames": 65}, "ours", 0, home, True)


def test_results_are_written_from_the_stored_numbers(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RESULTS.md is what the script writes from docs/results.json, which stays as it is."""
    (tmp_path / "docs").mkdir()
    stored = Path(shutil.copy(ROOT / "docs" / "results.json", tmp_path / "docs"))
    tasks = ROOT / "benchmarks" / "agent_tasks.toml"
    out, target = tmp_path / "runs", tmp_path / "RESULTS.md"
    run(benchmark, monkeypatch, tasks, "--out", out, "--write", target)
    assert target.read_text() == (ROOT / "RESULTS.md").read_text()
    assert read(stored) == read(ROOT / "docs" / "results.json")


def test_laps_and_tiles_follow_from_returns(benchmark: Any) -> None:
    """A lap of 850 frames returns 915; 95 % of the tiles in 1,000 frames return 850."""
    module = importlib.import_module("write_results")
    lines = list(module._laps("ours", [[915.0, 850.0, 650.0], [920.0, 910.0, -130.0]]))
    assert lines[3:] == ["| 0 | 3 | 1 | 90.0% | 1 | 850 |", "| 1 | 3 | 2 | 66.7% | 1 | 910 |"]
