"""Worlds of study_heads.py: sprites with another reward, and a grid with a random goal."""

from typing import Any

import gymnasium as gym
from minigrid.core.world_object import Goal
from minigrid.envs.empty import EmptyEnv

from rl_vae.sprites.environment import SpritesEnv


class Arrival(SpritesEnv):
    """rl_vae/Sprites-v0 with a reward of 1 on arrival, and no other."""

    def step(self, action: Any) -> Any:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(terminated), terminated, truncated, info


class RandomGoal(EmptyEnv):
    """MiniGrid-Empty-8x8-v0 with the goal at a random place, and the agent at another one."""

    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)  # type: ignore[no-untyped-call]
        self.grid.set(width - 2, height - 2, None)
        self.agent_pos = (-1, -1)
        self.goal_pos = self.place_obj(Goal())
        self.place_agent()  # type: ignore[no-untyped-call]

    def factors(self) -> dict[str, float]:
        """The state: place and direction of the agent, and the place of the goal."""
        places = {"agent": self.agent_pos, "goal": self.goal_pos}
        factors = {
            f"{name}_{axis}": float(at[i])
            for name, at in places.items()
            for i, axis in enumerate("xy")
        }
        return {**factors, "agent_direction": float(self.agent_dir)}


gym.register("Heads/Arrival-v0", "head_games:Arrival", max_episode_steps=50)
gym.register("Heads/RandomGoal-v0", "head_games:RandomGoal", kwargs={"size": 8})
