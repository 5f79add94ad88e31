"""Recipes: files that are run, fields that are checked and stored."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from rl_vae.agents.recipe import Recipe, load_recipe
from rl_vae.errors import ConfigError
from rl_vae.sb3 import ActionMap

AGENTS = Path(__file__).resolve().parents[2] / "agents"
BUNDLED = sorted(path.stem for path in AGENTS.glob("*.py"))


def test_recipes_for_anything_and_for_the_benchmarks_tasks_are_bundled() -> None:
    """One recipe an algorithm, and one or more a task, come with rl_vae; each tells its story."""
    general, tasks = (
        ["dqn", "ppo", "recurrent_ppo", "sac"],
        ["car_racing", "cartpole", "minigrid", "pendulum", "pong", "sprites"],
    )
    assert sorted({name.partition("_")[2] for name in set(BUNDLED) - set(general)}) == tasks
    assert set(general) <= set(BUNDLED)
    for name in BUNDLED:
        assert ast.get_docstring(ast.parse((AGENTS / f"{name}.py").read_text("utf-8")))


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_recipe_is_found_by_its_name_and_by_its_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundled recipe loads by name, by file name, by agents/NAME.py and by its full path."""
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(name)
    assert isinstance(recipe, Recipe)
    for way in (f"{name}.py", f"agents/{name}.py", str(AGENTS / f"{name}.py"), AGENTS / name):
        assert load_recipe(way) == recipe


def test_a_file_of_ones_own_works_from_anywhere(tmp_path: Path) -> None:
    """A user's recipe is loaded from its file as it is now, and nothing is left beside it."""
    path = tmp_path / "ppo.py"  # a file goes before the bundled recipe of that name
    for steps in (11, 22):
        path.write_text(f"import rl_vae\nRECIPE = rl_vae.Recipe('PPO', total_steps={steps})\n")
        assert load_recipe(path).total_steps == steps
    assert [file.name for file in tmp_path.iterdir()] == ["ppo.py"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("RECIPE = 1 +", "SyntaxError"),
        ("import rl_vae_that_nobody_has", "ModuleNotFoundError"),
        ("raise RuntimeError('no luck')", "no luck"),
        ("import rl_vae\nRECIPE = rl_vae.Recipe('PPO', total_steps=0)", "total_steps"),
        ("", "does not define RECIPE"),
        ("RECIPE = {'algorithm': 'PPO'}", "{'algorithm': 'PPO'}"),
        ("import rl_vae\nRECIPE = rl_vae.Recipe", "Recipe"),
        ("RECIPE = '\\xff'".encode("utf-16"), "SyntaxError"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(
    source: str | bytes, says: str, tmp_path: Path
) -> None:
    """A broken file and one without a RECIPE are a ConfigError that names the file and why."""
    path = tmp_path / "mine.py"
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    error = caught.value
    assert str(path) in str(error) and says in str(error)
    assert error.expected and error.got and error.remedy


@pytest.mark.parametrize("name", ["nope", "", ".", "agents/nope.py", "elsewhere/ppo", "ppo.txt.py"])
def test_an_unknown_recipe_is_refused(name: str) -> None:
    """An unknown name is a ConfigError that lists the recipes there are."""
    with pytest.raises(ConfigError) as caught:
        load_recipe(name)
    error = caught.value
    assert all(known in str(error.expected) for known in BUNDLED)
    assert repr(name) in str(error) and error.remedy


@pytest.mark.parametrize("name", BUNDLED)
def test_a_recipe_survives_json(name: str) -> None:
    """A recipe that is written as JSON and read again is the same recipe."""
    recipe = load_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_every_field_survives_json() -> None:
    """A recipe in which no field has its default is written and read without a change."""
    recipe = Recipe(
        algorithm="PPO",
        total_steps=7,
        n_envs=2,
        frame_skip=3,
        stack=5,
        actions=6,
        reward_scale=0.5,
        learning_rate=0.1,
        final_learning_rate=0.01,
        final_log_std=-2.0,
        action_map=ActionMap(((1.0, 0.5), (0.0, -1.0)), (0.25, 0.0)),
        hyperparameters={"gamma": 0.9, "policy_kwargs": {"net_arch": [8, 8]}},
    )
    plain = recipe.to_dict()
    assert set(plain) == set(Recipe.__dataclass_fields__)
    assert Recipe.from_dict(json.loads(json.dumps(plain))) == recipe


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "A3C"},
        {"algorithm": "ppo"},
        {"total_steps": 0},
        {"total_steps": -1},
        {"total_steps": 1e3},
        {"total_steps": True},
        {"n_envs": 0},
        {"frame_skip": 0},
        {"frame_skip": 1.5},
        {"stack": 0},
        {"actions": -1},
        {"reward_scale": 0.0},
        {"reward_scale": float("inf")},
        {"reward_scale": float("nan")},
        {"learning_rate": 0},
        {"learning_rate": -1e-3},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"learning_rate": "fast"},
        {"final_learning_rate": -1e-9},
        {"final_learning_rate": float("nan")},
        {"final_log_std": float("inf")},
        {"final_log_std": "small"},
        {"algorithm": "SAC", "final_log_std": -1.0},
        {"algorithm": "DQN", "final_log_std": -1.0},
        {"action_map": {"matrix": [[1.0]], "offset": [0.0]}},
        {"hyperparameters": {"gamma": float("nan")}},
        {"hyperparameters": {"gamma": set()}},
        {"hyperparameters": {"learning_rate": 1e-3}},
        {"hyperparameters": {"seed": 3}},
        {"hyperparameters": {"device": "cuda"}},
        {"hyperparameters": 3},
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused(change: dict[str, Any]) -> None:
    """Every field of a recipe is checked, and the error names it, the range and what came."""
    with pytest.raises(ConfigError) as caught:
        Recipe(**{"algorithm": "PPO", "total_steps": 1, **change})
    assert caught.value.expected and caught.value.got and caught.value.remedy
    assert list(change)[-1].removeprefix("final_") in str(caught.value)


def test_the_limits_themselves_are_allowed() -> None:
    """The least value of every range is a recipe."""
    Recipe("PPO", 1, n_envs=1, frame_skip=1, stack=1, actions=0, final_learning_rate=0.0)
    Recipe("PPO", 1, final_log_std=0, learning_rate=1)
