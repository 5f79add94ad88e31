"""ScaleRewards: rewards multiplied by a constant."""

from __future__ import annotations

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class ScaleRewards(VecEnvWrapper):
    """Multiplies every reward by a constant, so that an agent's value estimates stay near 1.

    Args:
        venv: Vectorised environments to wrap.
        scale: Factor of every reward.
    """

    def __init__(self, venv: VecEnv, scale: float) -> None:
        super().__init__(venv)
        self._scale = scale

    def reset(self) -> VecEnvObs:
        """Begin episodes."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Scale the rewards of a step."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, rewards * self._scale, dones, infos
