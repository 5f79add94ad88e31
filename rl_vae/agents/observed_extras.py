"""The extras of an agent that reach its policy as they are, for the exported graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rl_vae.agents.agent import Agent
from rl_vae.wrappers.goals import GOALS


def observed_extras(agent: Agent) -> spaces.Dict | None:
    """The extras that reach the policy as they are: with goals, those that are no images."""
    extras, seen = agent.extras_space, agent.make_pipeline(1).observation_space
    if extras is None or agent.recipe.extras != "goals" or not isinstance(seen, spaces.Dict):
        return extras
    kept = {key: part for key, part in extras.items() if key in seen.spaces and key not in GOALS}
    return spaces.Dict(kept)


def leaf_spaces(space: gym.Space[Any] | None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Names and spaces of a Dict's entries; entries of an inner Dict are named OUTER.INNER."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from leaf_spaces(part, f"{name}.{key}" if name else str(key))
    elif space is not None:
        yield name, space
