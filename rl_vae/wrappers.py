"""LatentObservation: a Gymnasium environment that is observed through an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.encoder import Encoder
from rl_vae.errors import ConfigError
from rl_vae.history import History


class LatentObservation(
    gym.Wrapper[NDArray[np.float32], Any, Any, Any], gym.utils.RecordConstructorArgs
):
    """Replaces image observations by stacked mean latents and, if wanted, past actions.

    The environment must observe raw images of the encoder's kind, uint8 (h, w, c); `make_env`
    opens any environment so. Observations are float32 of shape (stack Z + actions A,), as
    `rl_vae.history` lays them out.

    Args:
        env: What is wrapped.
        encoder: Folder of the artifact. A path, so that `env.spec` can name it.
        stack: How many latents, the current one included; a single frame holds no velocity.
        actions: How many past actions.

    Raises:
        ArtifactError: where the artifact is missing or damaged.
        ObservationError: where the environment's observations are not the encoder's.
        ConfigError: where `stack` or `actions` is out of range.
    """

    def __init__(
        self, env: gym.Env[Any, Any], encoder: str | Path, *, stack: int = 1, actions: int = 0
    ) -> None:
        if not isinstance(encoder, str | Path):
            raise ConfigError(
                "The encoder is named by its folder.",
                expected="a path",
                got=type(encoder).__name__,
                remedy="give the folder that train_vae wrote",
            )
        gym.utils.RecordConstructorArgs.__init__(
            self, encoder=str(encoder), stack=stack, actions=actions
        )
        gym.Wrapper.__init__(self, env)
        self.encoder = Encoder.load(encoder)
        self.encoder.check_space(env.observation_space)
        self._history = History(1, self.encoder.latent_dim, stack, actions, env.action_space)
        self.observation_space = self._history.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode; the stack is filled with its first latent."""
        image, info = self.env.reset(seed=seed, options=options)
        self._history.restart(np.arange(1), self._encode(image))
        return self._history.observation()[0], info

    def step(self, action: Any) -> tuple[NDArray[np.float32], Any, bool, bool, dict[str, Any]]:
        """Act; the last observation of an episode is encoded like every other."""
        image, reward, terminated, truncated, info = self.env.step(action)
        self._history.push(self._encode(image), np.asarray(action)[None])
        return self._history.observation()[0], reward, terminated, truncated, info

    def _encode(self, image: Any) -> NDArray[np.float32]:
        self.frames = self.encoder.spec.apply_batch(image[None])  # (1, H, W, C), for who watches
        return self.encoder.encode(self.frames)
