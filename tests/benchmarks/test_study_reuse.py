"""benchmarks/study_reuse.py: one code for several rewards."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from jobs import HereExecutor
from little_models import COMPARISON

from rl_vae.analysis.comparison import runner

ROOT = Path(__file__).resolve().parents[2]
LITTLE = replace(COMPARISON, betas=(), baselines=("pixels",))


class Nothing(gym.RewardWrapper[Any, Any]):
    """No reward."""

    def reward(self, reward: Any) -> float:
        return 0.0


@pytest.fixture(scope="module")
def study() -> Any:
    """The script, with its folder on the import path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("study_reuse")


@pytest.mark.slow
def test_agents_of_several_rewards_share_one_code(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code is trained once, each reward is that of its wrapper, and the page has all cells."""
    monkeypatch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor())
    world = study.World(LITTLE, {"own": (), "nothing": (Nothing,)})
    monkeypatch.setattr(study, "WORLDS", {"line": world})
    file, out = tmp_path / "reuse_study.json", tmp_path / "out"
    command = ["--world", "line", "--workers", 1, "--file", file, "--out", out, "--write"]
    arguments = ["study_reuse.py", *map(str, command), "--seeds", "2"]
    monkeypatch.setattr("sys.argv", arguments)
    study.main()
    runs = study.read_runs(file)
    assert [run["task"] for run in runs] == ["line", *["line: nothing"] * 4, *["line: own"] * 4]
    assert {run["system"] for run in runs[1:]} == {"model-code", "pixels"}
    assert study.returns_of(runs, "line: nothing", study.CODE) == [0.0, 0.0]
    digests = {path.read_bytes() for path in out.rglob("*/models/*/model.safetensors")}
    assert digests == {(out / "line" / "code" / "model.safetensors").read_bytes()}
    # The cost of the code is counted once
    agents = [run for run in runs if run["system"] == study.CODE]
    seconds = sum(sum(run["result"]["seconds"].values()) for run in agents) / 2
    assert study.minutes_of(runs, "line", study.CODE) == pytest.approx(
        (seconds + runs[0]["result"]["seconds"]) / 60
    )
    text = (tmp_path / "reuse_study.md").read_text()
    assert "| nothing | 0 (0 to 0), 2 seeds | 0 (0 to 0), 2 seeds | not run |" in text
    assert "| minutes of all rewards |" in text
    # Nothing is left to do
    before = file.read_bytes()
    monkeypatch.setattr("sys.argv", arguments)
    study.main()
    assert file.read_bytes() == before


@pytest.mark.slow
def test_rewards_of_the_driver(study: Any) -> None:
    """Standing still on the road earns nothing backwards, and nothing for slow driving."""
    games = importlib.import_module("reuse_games")
    for wrapper in (games.SlowDriving, games.Reverse):
        env = wrapper(gym.make("CarRacing-v3"))
        env.reset(seed=0)
        rewards = [env.step(env.action_space.sample() * 0)[1] for _ in range(3)]
        assert all(abs(reward) < 0.1 for reward in rewards)
        env.close()


def test_rewards_of_the_sprites(study: Any) -> None:
    """At the top left corner the reward of the corner is 1; away from the target it grows."""
    games = importlib.import_module("reuse_games")
    corner = {"position_x": 0, "position_y": 0, "target_x": 31, "target_y": 31}
    env = games.Corner(gym.make("rl_vae/Sprites-v0", do=corner))
    env.reset(seed=0)
    assert env.step(1)[1] == 1.0
    assert env.step(0)[1] == pytest.approx(1 - 2 / 62)
    env = games.AwayFromTarget(gym.make("rl_vae/Sprites-v0", do=corner))
    env.reset(seed=0)
    assert env.step(1)[1] == pytest.approx(1.0)
    assert env.step(0)[1] == pytest.approx(60 / 62)


def test_the_page_is_written_from_the_kept_runs(study: Any) -> None:
    """docs/reuse_study.md is what the script writes from docs/reuse_study.json."""
    runs = study.read_runs(ROOT / "docs" / "reuse_study.json")
    stored = (ROOT / "docs" / "reuse_study.md").read_text()
    assert "\n".join(study.page(runs)) + "\n" == stored


def test_a_page_names_what_was_not_run(study: Any) -> None:
    """Without runs every cell is "not run"."""
    lines = list(study.page([]))
    assert "| corner | not run | not run | not run |" in lines
