"""evolve_agent: an evolution strategy on the output layer of a trained agent."""

import json
import os
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import pytest
import safetensors.torch
import torch
from folder_files import folder_content

from rl_vae import evaluate_agent, evolve_agent, verify_folder
from rl_vae.agents import evolve
from rl_vae.agents.agent import Agent
from rl_vae.agents.episode_workers import EpisodeWorkers
from rl_vae.agents.evolution import EvolutionState, draw_noise, update, utilities
from rl_vae.agents.trained import TrainedAgent
from rl_vae.cli import main
from rl_vae.envs.seeds import FIRST_CHECK_SEED, FIRST_SEARCH_SEED, search_seed
from rl_vae.errors import ConfigError, FolderError
from rl_vae.sb3.play import Played
from rl_vae.system import strict_json

pytestmark = pytest.mark.slow

LAYER = ("action_net.weight", "action_net.bias")
SHORT = {"generations": 3, "population": 4, "episodes": 2, "checks": 2, "check_episodes": 3}


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments live in this process, which is quick; results do not depend on it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def run(out: Path, **changes: Any) -> TrainedAgent:
    agent = little_models.agent("PPO")
    return evolve_agent(agent, out, **{**SHORT, "progress": False, **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "policy.safetensors")


def target(monkeypatch: pytest.MonkeyPatch, goal: float) -> list[Any]:
    """Let episodes return minus the squared distance of the weights from a goal; note the sets."""
    seen: list[Any] = []

    def play(self: EpisodeWorkers, sets: Any) -> list[Played]:
        seen.extend(sets)
        values = [-float(((each.weights - goal) ** 2).sum()) for each in sets]
        return [
            Played(np.full(each.episodes, value), np.ones(each.episodes, np.int64), 0)
            for each, value in zip(sets, values, strict=True)
        ]

    monkeypatch.setattr(EpisodeWorkers, "play", play)
    return seen


def test_the_update_is_that_of_the_equation() -> None:
    """w + rate s / P sum_k u_k e_k, with ranks that have mean 0 and deviation 1; ties share."""
    ranks = np.array([3.0, 1.0, 2.0]) - 2.0
    assert utilities(np.array([50.0, -7.0, 0.1])) == pytest.approx(ranks / np.sqrt(2 / 3))
    assert utilities(np.array([1.0, 1.0, 5.0, 5.0])).tolist() == [-1.0, -1.0, 1.0, 1.0]
    noise = np.array([[1.0, 2.0], [-1.0, -2.0]])
    moved = update(np.array([5.0, 5.0]), noise, np.array([0.0, 9.0]), sigma=0.1, learning_rate=2.0)
    assert moved == pytest.approx([5.0 - 0.2, 5.0 - 0.4])
    still = update(np.array([5.0, 5.0]), noise, np.array([4.0, 4.0]), sigma=0.1, learning_rate=2.0)
    assert still.tolist() == [5.0, 5.0]


def test_noise_is_mirrored_and_seeds_are_new() -> None:
    """The second half of the noise is minus the first; no search seed is that of a check."""
    noise = draw_noise(6, 50, 3, 1)
    assert (noise[3:] == -noise[:3]).all() and not (draw_noise(6, 50, 3, 2) == noise).any()
    seeds = [search_seed(9, seed, generation) for seed in range(20) for generation in range(20)]
    assert min(seeds) >= FIRST_SEARCH_SEED > FIRST_CHECK_SEED and max(seeds) + 9 <= 2**31
    assert len(set(seeds)) == 400


def test_an_evolution_nears_a_known_optimum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On returns with a known optimum the checks rise, and only the output layer moves."""
    seen = target(monkeypatch, 0.3)
    trained = run(
        tmp_path / "new", generations=30, population=20, sigma=5.0, learning_rate=2.0, checks=3
    )
    lines = strict_json.read_lines(trained.path / "progress.jsonl")
    checks = [line["evaluation_return"] for line in lines if "evaluation_return" in line]
    assert len(checks) == 4 and checks == sorted(checks) and checks[-1] > 0.2 * checks[0]
    assert trained.kept is not None and trained.kept.check_return == checks[-1]
    assert trained.steps == sum(each.episodes for each in seen) == trained.kept.step
    # Members of a generation play the same episodes, and the checks others.
    members = [each for each in seen if each.episodes == 2 and each.first_seed >= FIRST_SEARCH_SEED]
    assert len(members) == 600 and len({each.first_seed for each in members}) == 30
    checked = [each for each in seen if each.first_seed < FIRST_SEARCH_SEED]
    assert {each.first_seed - FIRST_CHECK_SEED for each in checked} == {0, 2}
    old, new = weights(little_models.agent("PPO")), weights(trained.path)
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == set(LAYER)


def test_an_evolution_without_success_returns_the_old_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no check is higher than that of the old weights, these are the agent."""
    old = weights(little_models.agent("PPO"))
    vector = torch.cat([old[name].flatten() for name in LAYER]).double().numpy()
    target(monkeypatch, vector)
    trained = run(tmp_path / "new")
    assert Agent.load(trained.path).digest == Agent.load(little_models.agent("PPO")).digest
    assert trained.kept is not None and trained.kept.step == SHORT["check_episodes"]


def test_an_evolution_is_resumed_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interruption the same call gives the same agent and log as without one; the result
    can be verified, evaluated and read again, and other settings are refused."""
    straight = run(tmp_path / "straight", seed=4)
    save, count = EvolutionState.save, [0]

    def fail(self: EvolutionState, folder: Path) -> None:
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        save(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(EvolutionState, "save", fail)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", seed=4)
    partial = tmp_path / "cut.partial"
    assert not verify_folder(partial).findings
    with pytest.raises(FolderError):
        run(tmp_path / "cut", seed=5)
    cut = run(tmp_path / "cut", seed=4)
    assert Agent.load(cut.path).digest == Agent.load(straight.path).digest
    logs = [strict_json.read_lines(each.path / "progress.jsonl") for each in (cut, straight)]
    for line in (*logs[0], *logs[1]):
        del line["seconds"]
    assert logs[0] == logs[1] and [line["generation"] for line in logs[0]] == [0, 1, 2, 3]
    assert not partial.exists() and cut.steps == straight.steps
    # The finished folder
    assert not verify_folder(cut.path).findings
    assert not {"evolution.json", "run.json", ".lock"} & set(folder_content(cut.path))
    assert run(tmp_path / "cut", seed=4) == cut
    with pytest.raises(FolderError):
        run(tmp_path / "cut", seed=4, sigma=0.3)
    assert len(evaluate_agent(cut.path, episodes=2, workers=1).returns) == 2


def test_processes_change_nothing(tmp_path: Path) -> None:
    """Two processes give the agent of one."""
    changes: dict[str, Any] = {"generations": 1, "checks": 1, "check_episodes": 2}
    one, two = (run(tmp_path / str(n), workers=n, **changes) for n in (1, 2))
    assert Agent.load(one.path).digest == Agent.load(two.path).digest
    assert one.steps == two.steps


def test_a_damaged_state_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state whose content does not have its digest is a FolderError with a remedy."""

    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    target(monkeypatch, 0.0)
    monkeypatch.setattr(evolve, "save_agent", fail)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "new")
    path = tmp_path / "new.partial" / "evolution.json"
    state = json.loads(path.read_bytes())
    path.write_text(json.dumps({**state, "steps": state["steps"] + 1}))
    (finding,) = verify_folder(path.parent).findings
    assert finding.path == path
    with pytest.raises(FolderError, match="delete"):
        run(tmp_path / "new")


@pytest.mark.parametrize(
    "changes", [{"population": 3}, {"sigma": 0.0}, {"generations": 0}, {"seed": 2**30}], ids=str
)
def test_settings_out_of_range_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A setting that no evolution can have is a ConfigError, and nothing is written."""
    with pytest.raises(ConfigError):
        run(tmp_path / "new", **changes)
    assert not list(tmp_path.iterdir())


def test_the_command_evolves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """rl-vae evolve-agent takes the settings as flags, and prints what was kept."""
    target(monkeypatch, 0.3)
    out = tmp_path / "new"
    flags = ["--generations", "2", "--population", "4", "--check-episodes", "3"]
    main(["evolve-agent", str(little_models.agent("PPO")), "--out", str(out), *flags])
    printed = capsys.readouterr().out
    assert str(out) in printed and "3 check episodes" in printed
    assert Agent.load(out).seed == 0
