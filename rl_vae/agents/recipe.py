"""Recipe: the settings of an agent's training, as plain values that are stored with the agent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym

from rl_vae.agents.kinds import KINDS, Algorithm
from rl_vae.constraints import Range, check_fields
from rl_vae.envs.action_spaces import check_action_space
from rl_vae.errors import ConfigError
from rl_vae.sb3.action_map import ActionMap
from rl_vae.system import hashing
from rl_vae.system.user_code import load_name
from rl_vae.wrappers.config import ObservationConfig, check_goal_code

_SET_ELSEWHERE = frozenset({"policy", "env", "learning_rate", "seed", "device"})
"""Arguments of SB3's algorithms that a field of the recipe or train_agent sets."""


@dataclass(frozen=True)
class Recipe(ObservationConfig):
    """Settings of an agent's training. A recipe file defines one, named RECIPE.

    The fields of `ObservationConfig` (stack, actions, code, standardise, extras, image_key) are
    fields of a recipe, too. A step is one decision in one environment; the environment takes
    `frame_skip` steps for each decision.

    Raises:
        ConfigError: if a value has the wrong type or is out of its range.
    """

    algorithm: Algorithm
    """Algorithm, named like its class.

    Of Stable-Baselines3: "PPO" and "A2C" (any actions), "SAC", "TD3" and "DDPG" (Box actions),
    "DQN" (Discrete actions). Of sb3_contrib (the extra contrib): "RecurrentPPO" and "TRPO" (any
    actions), "TQC" and "CrossQ" (Box actions), "QRDQN" (Discrete actions), "ARS" (Discrete or Box
    actions), "MaskablePPO" (Discrete or MultiDiscrete actions of an environment that has a method
    `action_masks`)."""
    total_steps: Annotated[int, Range(low=1, remedy="choose total_steps=100000")]
    """Number of decisions, summed over all environments."""
    _: KW_ONLY
    n_envs: Annotated[int, Range(low=1)] = 8
    """Number of environments that run in parallel."""
    frame_skip: Annotated[int, Range(low=1)] = 1
    """Number of environment steps for which a decision is repeated."""
    pixels: Literal["auto", "observation", "render"] = "auto"
    """Source of the pixels, as in `PixelOptions`; "auto": the source of the encoder's frames."""
    stack: Annotated[int, Range(low=1)] = 4
    """Number of latent codes in an observation, the current one included."""
    goal_threshold: Annotated[float, Range(above=0)] = 1.0
    """With extras="goals" and an algorithm with a replay buffer: largest distance (Euclidean) at
    which the codes of achieved and desired goal count as equal.

    Such an algorithm learns by hindsight (SB3's HerReplayBuffer), from rewards of 0 for equal codes
    and -1 for others. Evaluations, films and other algorithms have the environment's own rewards.
    With standardise=True it is in standard deviations of the latents."""
    reward_scale: Annotated[float, Range(above=0)] = 1.0
    """Factor by which rewards are multiplied before the algorithm receives them."""
    learning_rate: Annotated[float, Range(above=0)] = 3e-4
    """Learning rate at the start."""
    final_learning_rate: Annotated[float, Range(low=0)] | None = None
    """Learning rate at the end, reached linearly; None: the learning rate is constant."""
    final_log_std: float | None = None
    """PPO, A2C and RecurrentPPO with Box actions: logarithm of the standard deviation of the action
    noise at the end.

    It is reached linearly from policy_kwargs["log_std_init"] and is not learned, so that the mean
    action becomes as good as the sampled actions. None: the noise is learned."""
    action_map: ActionMap | None = None
    """Map from the agent's actions to the environment's actions; None: they are the same."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """Other arguments of the SB3 algorithm, as JSON values.

    policy_kwargs["activation_fn"] is "tanh", "relu" or "elu". The `action_noise` of TD3 and other
    algorithms with a replay buffer and Box actions is a number: the standard deviation of Gaussian
    noise on actions that are scaled to [-1, 1]. `replay_buffer_kwargs` are those of SB3's
    HerReplayBuffer if goals are observed."""

    def __post_init__(self) -> None:
        # Fields, and what the algorithm cannot do
        check_fields(self)
        check_goal_code(self)
        if self.final_log_std is not None and not KINDS[self.algorithm].has_log_std:
            raise ConfigError(
                f"{self.algorithm} has no final_log_std.",
                expected="final_log_std=None",
                got=self.final_log_std,
                remedy="leave final_log_std out",
            )
        if self.extras in ("dict", "goals") and not KINDS[self.algorithm].has_dicts:
            raise ConfigError(
                f"{self.algorithm} cannot observe a Dict: it has no MultiInputPolicy.",
                expected="extras='flatten' or extras='drop'",
                got=f"extras={self.extras!r}",
                remedy="choose another algorithm, such as SAC, or other extras",
            )
        # Hyperparameters
        try:
            hashing.canonical_json(dict(self.hyperparameters))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                "Recipe.hyperparameters cannot be stored.",
                expected="JSON values: numbers, strings, lists and dicts",
                got=error,
                remedy="replace objects by JSON values",
            ) from error
        misplaced = sorted(_SET_ELSEWHERE.intersection(self.hyperparameters))
        if misplaced:
            raise ConfigError(
                "Recipe.hyperparameters contains arguments that are set elsewhere.",
                expected="other arguments of the algorithm",
                got=", ".join(misplaced),
                remedy="learning_rate is a field of Recipe, seed an argument of train_agent",
            )

    @property
    def observation(self) -> ObservationConfig:
        """The part of the recipe that says what the agent observes."""
        names = [part.name for part in fields(ObservationConfig)]
        return ObservationConfig(**{name: getattr(self, name) for name in names})

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        plain: dict[str, Any] = json.loads(hashing.canonical_json(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` converted to JSON values."""
        action_map = values.get("action_map")
        if action_map is not None:
            rows = tuple(tuple(row) for row in action_map["matrix"])
            action_map = ActionMap(rows, tuple(action_map["offset"]))
        return cls(**{**values, "action_map": action_map})


def load_recipe(name: str | Path) -> Recipe:
    """Run a recipe file and return its RECIPE. Only run files that you trust.

    Args:
        name: A Python file, or the name of a recipe that is part of rl_vae, such as "ppo".

    Raises:
        ConfigError: if there is no such file, it fails, or it does not define a RECIPE.
    """
    path = _find_recipe(name)
    recipe = load_name(path, "RECIPE", "a constant RECIPE = rl_vae.Recipe(...)")
    if not isinstance(recipe, Recipe):
        raise ConfigError(
            f"RECIPE in {path} is not a recipe.",
            expected="a constant RECIPE = rl_vae.Recipe(...)",
            got=repr(recipe),
            remedy="correct that file; agents/ppo.py is an example",
        )
    return recipe


def _find_recipe(name: str | Path) -> Path:
    """Path of a recipe: a file, or a recipe that is part of rl_vae."""
    path = Path(name)
    if path.is_file():
        return path
    here = Path(__file__).parent
    folders = [here / "recipes", here.parents[1] / "agents"]  # in the wheel, in a checkout
    stem = path.stem if path.suffix == ".py" else path.name
    if path.parent.name in ("", "agents"):
        for folder in folders:
            if (folder / f"{stem}.py").is_file():
                return folder / f"{stem}.py"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.py")})
    raise ConfigError(
        f"There is no recipe {str(name)!r}.",
        expected=f"a Python file that defines RECIPE, or one of {', '.join(known)}",
        got=repr(str(name)),
        remedy="check the spelling",
    )


def check_actions(recipe: Recipe, space: gym.Space[Any]) -> None:
    """Check that the recipe's algorithm can act in an agent's action space.

    Raises:
        ConfigError: if it cannot.
    """
    check_action_space(space)
    actions = KINDS[recipe.algorithm].actions
    if not isinstance(space, actions):
        raise ConfigError(
            f"{recipe.algorithm} does not support this action space.",
            expected=f"{' or '.join(kind.__name__ for kind in actions)} actions",
            got=space,
            remedy="choose another recipe: PPO supports all action spaces",
        )
    if isinstance(space, gym.spaces.Box) and not space.is_bounded():
        raise ConfigError(
            "Agents of Stable-Baselines3 need bounds of their actions.",
            expected="a Box with finite bounds",
            got=space,
            remedy="limit the actions in a wrapper around the environment, or use an action_map",
        )
    if recipe.final_log_std is not None and not isinstance(space, gym.spaces.Box):
        raise ConfigError(
            "final_log_std applies to Box actions only.",
            expected="a Box of actions",
            got=space,
            remedy="choose another recipe, such as ppo",
        )
