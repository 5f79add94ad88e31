"""Small tasks for the programs of benchmarks/ that read agent_tasks.toml."""

from pathlib import Path

import pytest
from jobs import HereExecutor
from little_games import LINE

from rl_vae.analysis.comparison import runner

_RECIPE = """
import rl_vae
RECIPE = rl_vae.Recipe("PPO", total_steps=STEPS, n_envs=2, stack=2, hyperparameters={
    "n_steps": 32, "batch_size": 32, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}})
"""
_DEFAULTS = """
[defaults]
policy = {}
env_kwargs = {}
learning_rate = 1e-3
moving_weight = 1.0
compute = "fast"
"""


def write_tasks(folder: Path, patch: pytest.MonkeyPatch, tasks: str, total_steps: int) -> Path:
    """Write a file of tasks in the environment LINE with the recipe RECIPE. Jobs run in this
    process from now on.

    Args:
        folder: Where the file and the recipe are written.
        patch: Undoes what is patched.
        tasks: Further defaults and the tasks.
        total_steps: Number of decisions of the recipe.
    """
    patch.setattr(runner, "LocalExecutor", lambda *_, **__: HereExecutor())
    recipe, path = folder / "small.py", folder / "tasks.toml"
    recipe.write_text(_RECIPE.replace("STEPS", str(total_steps)))
    tasks = tasks.replace("LINE", LINE, 1).replace("RECIPE", str(recipe))
    path.write_text(_DEFAULTS + tasks.lstrip())
    return path
