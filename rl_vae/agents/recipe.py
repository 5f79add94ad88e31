"""Recipe: how an agent is trained, as plain values that can be written down beside it."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym

from rl_vae.errors import ConfigError
from rl_vae.sb3.action_map import ActionMap
from rl_vae.system import files

Algorithm = Literal["PPO", "SAC", "DQN"]
_ALGORITHMS = ("PPO", "SAC", "DQN")
_SET_ELSEWHERE = {"policy", "env", "learning_rate", "seed", "device"}
"""Arguments of the algorithms that the recipe's own fields or train_agent set."""


@dataclass(frozen=True)
class Recipe:
    """How an agent is trained on latents. A recipe file holds one, named RECIPE.

    Steps are decisions, summed over all environments; the environment takes frame_skip steps for
    each.

    Raises:
        ConfigError: where a value is out of its range.
    """

    algorithm: Algorithm
    """"PPO" (any actions), "SAC" (a Box of actions) or "DQN" (discrete actions)."""
    total_steps: int
    """Decisions to train for, from 1 up."""
    n_envs: int = 8
    """Environments that run at once."""
    frame_skip: int = 1
    """Environment steps that each decision is held."""
    stack: int = 4
    """Latents in an observation, the current one included."""
    actions: int = 0
    """Past actions in an observation."""
    reward_scale: float = 1.0
    """What rewards are multiplied by before the algorithm sees them."""
    learning_rate: float = 3e-4
    """At the start."""
    final_learning_rate: float | None = None
    """At the end, falling linearly; None: it stays."""
    final_log_std: float | None = None
    """PPO on a Box: the logarithm of the noise's standard deviation goes linearly from
    policy_kwargs["log_std_init"] to this instead of being learned, so that the mean action ends
    up doing what the sampled ones do; None: it is learned."""
    action_map: ActionMap | None = None
    """From the agent's actions to the environment's; None: they are the same."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """The algorithm's other arguments, in plain JSON values; policy_kwargs["activation_fn"] is
    "tanh", "relu" or "elu"."""

    def __post_init__(self) -> None:
        if self.algorithm not in _ALGORITHMS:
            raise ConfigError(
                "Unknown algorithm.",
                expected=f"one of {', '.join(_ALGORITHMS)}",
                got=repr(self.algorithm),
                remedy="PPO acts everywhere",
            )
        least = {"total_steps": 1, "n_envs": 1, "frame_skip": 1, "stack": 1, "actions": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ConfigError(
                    f"Recipe.{name} is out of range.",
                    expected=f"a whole number from {low} up",
                    got=repr(value),
                    remedy=f"choose {name}={getattr(type(self), name, 100_000)}",
                )
        self._check_number("learning_rate", "a number above 0", above=0.0)
        self._check_number("reward_scale", "a number above 0", above=0.0)
        if self.final_learning_rate is not None:
            self._check_number("final_learning_rate", "None, or a number from 0 up", least=0.0)
        if self.final_log_std is not None:
            self._check_number("final_log_std", "None, or a number")
            if self.algorithm != "PPO":
                raise ConfigError(
                    "Only PPO has a final_log_std.",
                    expected="None",
                    got=self.final_log_std,
                    remedy="leave it out",
                )
        if self.action_map is not None and not isinstance(self.action_map, ActionMap):
            raise ConfigError(
                "Recipe.action_map is not one.",
                expected="None, or an ActionMap",
                got=repr(self.action_map),
                remedy="make one: rl_vae.ActionMap(matrix, offset)",
            )
        try:
            files.canonical_json(dict(self.hyperparameters))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                "Recipe.hyperparameters cannot be written down.",
                expected="plain JSON values",
                got=error,
                remedy="give numbers, words, lists and mappings of them",
            ) from error
        misplaced = sorted(_SET_ELSEWHERE.intersection(self.hyperparameters))
        if misplaced:
            raise ConfigError(
                "Recipe.hyperparameters holds what is set elsewhere.",
                expected="the algorithm's other arguments",
                got=", ".join(misplaced),
                remedy="learning_rate is a field of Recipe, seed an argument of train_agent",
            )

    def _check_number(
        self, name: str, expected: str, *, above: float = -math.inf, least: float = -math.inf
    ) -> None:
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= above or value < least:
            raise ConfigError(
                f"Recipe.{name} is out of range.",
                expected=expected,
                got=repr(value),
                remedy=f"choose {name}={getattr(type(self), name)}",
            )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        plain: dict[str, Any] = json.loads(files.canonical_json(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote."""
        mapped = values.get("action_map")
        if mapped is not None:
            rows = tuple(tuple(row) for row in mapped["matrix"])
            mapped = ActionMap(rows, tuple(mapped["offset"]))
        return cls(**{**values, "action_map": mapped})


def load_recipe(name: str | Path) -> Recipe:
    """Run a recipe file and return its RECIPE. It is Python: only run files that you trust.

    Args:
        name: A file, or the name of one of the recipes that come with rl_vae, such as "ppo".

    Raises:
        ConfigError: where there is no such file, or no RECIPE in it.
    """
    here = Path(__file__).parent
    bundled = [here / "recipes", here.parents[1] / "agents"]  # of the wheel, of a checkout
    path = Path(name)
    if not path.is_file():
        stem = path.stem if path.suffix == ".py" else path.name
        found = [folder / f"{stem}.py" for folder in bundled if (folder / f"{stem}.py").is_file()]
        if not found or path.parent.name not in ("", "agents"):
            known = sorted({file.stem for folder in bundled for file in folder.glob("*.py")})
            raise ConfigError(
                f"There is no recipe {str(name)!r}.",
                expected=f"a file with a RECIPE in it, or one of {', '.join(known)}",
                got=repr(str(name)),
                remedy="check the spelling",
            )
        path = found[0]
    # Run, not imported: an import leaves a __pycache__ beside a user's file, and may read from it
    # what the file said before.
    module = types.ModuleType("rl_vae_recipe")
    module.__file__ = str(path)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except Exception as error:
        raise ConfigError(
            f"The recipe {path} failed.",
            expected="a Python file with a constant RECIPE = rl_vae.Recipe(...)",
            got=f"{type(error).__name__}: {error}",
            remedy="correct that file; the recipe ppo is an example",
        ) from error
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise ConfigError(
            f"{path} is not a recipe.",
            expected="a constant RECIPE = rl_vae.Recipe(...)",
            got=repr(recipe),
            remedy="correct that file; the recipe ppo is an example",
        )
    return recipe


def check_actions(recipe: Recipe, space: gym.Space[Any]) -> None:
    """Raise ConfigError unless a recipe's algorithm can act in a space."""
    wanted = {"SAC": gym.spaces.Box, "DQN": gym.spaces.Discrete}.get(recipe.algorithm)
    if wanted is not None and not isinstance(space, wanted):
        raise ConfigError(
            f"{recipe.algorithm} cannot act here.",
            expected=f"{wanted.__name__} actions",
            got=space,
            remedy="choose another recipe: PPO acts in both",
        )
    if recipe.final_log_std is not None and not isinstance(space, gym.spaces.Box):
        raise ConfigError(
            "The recipe's final_log_std has no meaning here.",
            expected="a Box of actions",
            got=space,
            remedy="choose another recipe, such as ppo",
        )
