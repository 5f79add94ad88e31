"""VecGoalRewards: environments whose goals are codes are rewarded for reaching them.

Shape letters: N environments, B transitions, Z latents.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rl_vae.constraints import Range, check_value
from rl_vae.wrappers.goals import ACHIEVED, DESIRED, GOALS

SUCCESS = "goal_reached"
"""Entry of infos: whether the code of the achieved goal is that of the desired one."""
ENV_REWARD = "env_reward"
"""Entry of infos: the reward of the environment."""


class VecGoalRewards(VecEnvWrapper):
    """Rewards equal codes of achieved and desired goal: 0 if they are equal, else -1.

    `HerReplayBuffer` computes the rewards of goals that it chooses itself from what is in the
    buffer, which are codes. So the reward is computed from codes everywhere. Observations and ends
    are unchanged; the environment's own reward is in `infos[i]["env_reward"]`.

    Args:
        venv: Environments that observe a Dict with the codes of both goals, such as
            `VecLatent(..., extras="goals")`.
        threshold: Largest Euclidean distance of two equal codes, above 0.
        scale: Factor of the rewards.

    Raises:
        ConfigError: if the threshold is out of its range.
    """

    def __init__(self, venv: VecEnv, *, threshold: float = 1.0, scale: float = 1.0) -> None:
        check_value("threshold", threshold, Annotated[float, Range(above=0)], 1.0)
        self._threshold, self._scale = threshold, scale
        super().__init__(venv)

    def reset(self) -> VecEnvObs:
        """Begin episodes."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Reward what was reached in a step, also in the last one of an episode."""
        now: Any
        now, own_rewards, dones, infos = self.venv.step_wait()
        codes = {key: now[key].copy() for key in GOALS}  # after the step, before a reset
        for env in np.flatnonzero(dones):
            for key in GOALS:
                codes[key][env] = infos[env]["terminal_observation"][key]
        rewards = self.compute_reward(codes[ACHIEVED], codes[DESIRED], infos)
        infos = [
            {**info, SUCCESS: bool(reward == 0), ENV_REWARD: float(own)}
            for info, reward, own in zip(infos, rewards, own_rewards, strict=True)
        ]
        return now, rewards, dones, infos

    def compute_reward(
        self, achieved: NDArray[np.float32], desired: NDArray[np.float32], infos: Any
    ) -> NDArray[np.float32]:
        """Rewards (B,) of codes (B, Z) each."""
        far = np.linalg.norm(achieved - desired, axis=-1) > self._threshold
        rewards: NDArray[np.float32] = -self._scale * far.astype(np.float32)
        return rewards

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        """Call a method of the environments; `compute_reward` is that of this wrapper."""
        if method_name == "compute_reward":
            return [self.compute_reward(*args, **kw) for _ in self._get_indices(indices)]
        return self.venv.env_method(method_name, *args, indices=indices, **kw)


def without_goal_rewards(venv: VecEnv) -> VecEnv:
    """The environments with their own rewards."""
    return venv.venv if isinstance(venv, VecGoalRewards) else venv
