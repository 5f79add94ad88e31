"""VecLatentGoals: goal environments whose goal is a picture, on latents, for SB3's HER."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from rl_vae.models.encoder import Encoder
from rl_vae.sb3.goal_rewards import VecGoalRewards
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.wrappers.goals import ACHIEVED


class VecLatentGoals(VecGoalRewards):
    """`VecLatent` with extras="goals", and `VecGoalRewards` around it.

        venv = VecLatentGoals(DummyVecEnv([make]), "models/arm", threshold=0.5)
        SAC("MultiInputPolicy", venv, replay_buffer_class=HerReplayBuffer)

    Observations are a Dict: "latent", the codes of the image, "achieved_goal" and "desired_goal",
    (N, Z) float32 each, and the other entries that are no images. Codes are standardised, unless
    `standardise=False` is given. The image is the entry "observation", or the achieved goal if that
    is no image.

    Args:
        venv: Environments that observe a Dict with the images achieved_goal and desired_goal.
        encoder: Model folder, or the loaded Encoder.
        threshold: Largest Euclidean distance of two equal codes, above 0.
        **options: Fields of ObservationConfig, such as stack and image_key.

    Raises:
        FolderError: if the model folder is missing or damaged.
        ObservationError: if the observations are others, or not those of the encoder.
        ConfigError: if the threshold or an option is out of its range.
    """

    def __init__(
        self,
        venv: VecEnv,
        encoder: str | Path | Encoder,
        *,
        threshold: float = 1.0,
        **options: Any,
    ) -> None:
        defaults = {"standardise": True, "image_key": _image_key(venv.observation_space)}
        latent = VecLatent(venv, encoder, **{**defaults, **options, "extras": "goals"})
        super().__init__(latent, threshold=threshold)
        self.encoder = latent.encoder


def _image_key(space: gym.Space[Any]) -> str | None:
    """Entry of a goal environment's observation that is the agent's image."""
    if not isinstance(space, gym.spaces.Dict):
        return None
    first = space.spaces.get("observation")
    return "observation" if first is not None and len(first.shape or ()) >= 2 else ACHIEVED
