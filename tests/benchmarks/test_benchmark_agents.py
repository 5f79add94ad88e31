"""benchmarks/benchmark_agents.py: what a return costs from nothing, stage by stage."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from little_games import LINE

from rl_vae.frames import FrameSpec

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "benchmark_agents.py"
RECIPE = """
import rl_vae
RECIPE = rl_vae.Recipe("PPO", total_steps=256, n_envs=2, stack=2, hyperparameters={
    "n_steps": 32, "batch_size": 32, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}})
"""


@pytest.fixture(scope="module")
def bench() -> Any:
    found = importlib.util.spec_from_file_location("benchmark_agents", SCRIPT)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["benchmark_agents"] = module  # where dataclasses look for their module
    found.loader.exec_module(module)
    return module


@pytest.fixture
def plan(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A task that is over in seconds, and everything on one core."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    recipe = tmp_path / "tiny.py"
    recipe.write_text(RECIPE)
    settings = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "clip_range": "lin_0.1"}
    plan = bench.Plan(
        env_id=LINE,
        recipe=str(recipe),
        frames=64,
        vae_steps=3,
        latent_dim=4,
        batch_size=16,
        spec=FrameSpec(40, 40),
        threshold=1e9,
        episode_frames=15,
        episodes=3,
        checks=2,
        pixels=bench.Pixels(hyperparameters=settings, normalize_reward=True),
        refreshes=(
            bench.Refresh(frames=64, vae_steps=2, agent_steps=64),
            bench.Refresh(frames=64, vae_steps=2, agent_steps=0),
        ),
    )
    monkeypatch.setattr(bench, "PLANS", {"pong": plan})
    return plan


def run(bench: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark_agents.py", *map(str, arguments)])
    bench.main()


def test_every_stage_is_done_once_and_counted(
    bench: Any, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage leaves its seconds, a second run does nothing again, and what is written holds
    every system's cost from nothing, frames and seconds of refreshing included."""
    systems, out = ["ours", "random", "state", "pixels"], tmp_path / "runs"
    where = ["--task", "pong", "--systems", *systems, "--seeds", "1", "--out", out]
    run(bench, monkeypatch, *where)
    stages = {path: path.read_bytes() for path in out.rglob("*.json") if path.parent.name != "vae"}
    names = {str(path.relative_to(out / "pong")) for path in stages}
    rounds = [f"{part}-{i}" for part in ("data", "vae", "test") for i in (1, 2)] + ["agent-1"]
    for name in ("vae", "agent", "test", "run", *rounds):
        assert f"seed-0/ours/{name}.json" in names
    assert "seed-0/data.json" in names and not list(out.rglob("*.clock"))
    figures = tmp_path / "figures.json"
    run(bench, monkeypatch, *where, "--write", tmp_path / "RESULTS.md", "--json", figures)
    assert all(path.read_bytes() == content for path, content in stages.items())

    ours, random, state, pixels = (result.runs[0] for result in bench.read_results(out))
    seconds = {
        path.stem: json.loads(content)["seconds"]
        for path, content in stages.items()
        if path.parent.name in ("ours", "seed-0") and path.stem not in ("run", "test")
    }
    costs = {name: spent for name, spent in seconds.items() if not name.startswith("test")}
    assert ours.seconds == pytest.approx(sum(costs.values()))
    assert ours.frames == 3 * 64 + 256 + 64 and random.frames == 64 + 256
    assert state.frames == pixels.frames == 256 and pixels.ended in ("steps", "seconds")
    assert [point.frames for point in ours.curve] == sorted(point.frames for point in ours.curve)
    assert ours.curve[-1].seconds <= ours.seconds and len(ours.tests) == 3
    text = (tmp_path / "RESULTS.md").read_text()
    assert all(f"| {system} |" in text for system in systems)
    pairs = {
        "check": ("agent", "vae"),
        "check-1": ("agent", "vae-1"),
        "check-1-agent": ("agent-1", "vae-1"),
    }
    checked = {
        name: json.loads((out / f"pong/seed-0/ours/{name}.json").read_bytes()) for name in pairs
    }
    assert {name: (found["agent"], found["vae"]) for name, found in checked.items()} == pairs
    tested = json.loads((out / "pong/seed-0/ours/test-1.json").read_bytes())
    scores = {pairs[name]: sum(found["returns"]) for name, found in checked.items()}
    assert scores[tested["agent"], tested["vae"]] == max(scores.values())
    assert (tmp_path / "docs" / "learning-pong.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads(figures.read_bytes())["figures"]["pong_ours_return"] == ours.score


def test_what_is_never_refreshed_is_tested_and_not_checked(
    bench: Any, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without rounds has one agent: nothing to choose from, but a score."""
    monkeypatch.setattr(bench, "PLANS", {"pong": bench.replace(plan, tested=False)})
    run(
        bench, monkeypatch, "--task", "pong", "--systems", "random", "--seeds", 1, "--out", tmp_path
    )
    home = tmp_path / "pong" / "seed-0" / "random"
    assert len(json.loads((home / "test.json").read_bytes())["returns"]) == plan.episodes
    assert not list(home.glob("check*"))


def test_another_plan_is_not_mixed_in(
    bench: Any, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was begun with another plan is refused, and says what differs."""
    bench.note_run(tmp_path, plan, 0)
    changed = bench.replace(plan, frames=65)
    with pytest.raises(SystemExit, match="frames"):
        bench.note_run(tmp_path, changed, 0)


def test_a_killed_stage_keeps_its_seconds_or_begins_anew(bench: Any, tmp_path: Path) -> None:
    """The seconds of a sitting that failed count where the work goes on, and only there."""

    def fail(clock: Any) -> None:
        clock.seconds += 100.0
        raise KeyboardInterrupt

    for goes_on, least in ((True, 100.0), (False, 0.0)):
        path = tmp_path / f"stage-{goes_on}"
        with pytest.raises(KeyboardInterrupt):
            bench.stage(path, fail, goes_on=goes_on)
        done = bench.stage(path, lambda clock: {"kept": 1}, goes_on=goes_on)
        assert least <= done["seconds"] < least + 50 and done["kept"] == 1
        assert done["sittings"] == (2 if goes_on else 1)


def test_a_pause_is_not_counted(bench: Any, tmp_path: Path) -> None:
    """Seconds in which the process stood still are told apart from those in which it ran."""
    with bench.Clock(tmp_path / "clock", anew=True) as clock:
        clock._looked -= 1000.0  # as if it had last looked before a long stop
    assert clock.read()["paused"] >= 1000.0 and clock.read()["seconds"] < 100.0
