"""Observing through another model than the one that an agent was trained with."""

from __future__ import annotations

from rl_vae.errors import ConfigError
from rl_vae.models.encoder import Encoder


def replace_encoder(own: Encoder, other: Encoder) -> Encoder:
    """Return the other encoder if an agent can observe through it.

    Raises:
        ConfigError: if it cannot.
    """
    kinds = [
        (encoder.spec, encoder.observation_shape, encoder.latent_dim) for encoder in (own, other)
    ]
    if kinds[0] != kinds[1]:
        text = "{}, made of observations {}, {} latents"
        raise ConfigError(
            f"The agent cannot observe through the model {other.path}.",
            expected=text.format(*kinds[0]),
            got=text.format(*kinds[1]),
            remedy="choose a model that was trained on from the agent's own: rl-vae train-vae "
            "--from",
        )
    return other
