"""Film of an agent: one episode, each image beside its reconstruction by the decoder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rl_vae.agents.agent import Agent
from rl_vae.envs.action_masks import read_action_masks
from rl_vae.envs.registry import make_engine
from rl_vae.envs.source import EnvSource
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.models.sheets import legend


class Film(NamedTuple):
    """Pictures of one episode."""

    images: list[UInt8Array]
    """Pictures (h, w, 3): the environment's image, and right of it its reconstruction, below a
    strip of 20 pixels that names both. Edges that the encoder does not see are gray."""
    total: float
    """Return of the episode."""


def film_agent(
    agent: Agent,
    *,
    seed: int,
    env: EnvSource | None = None,
    max_steps: int = 1000,
    height: int = 192,
) -> Film:
    """Let an agent play one episode without noise, and keep the pictures.

    Args:
        agent: The agent.
        seed: Seed of the environment, such as one of `evaluation_seeds`.
        env: The environment, from `Agent.env_source`; None: the one of the training.
        max_steps: Largest number of decisions.
        height: Height of both images in pixels.

    Raises:
        ConfigError: if the agent's encoder has no decoder.
    """
    agent.encoder.check_decoder()
    source = agent.env_source() if env is None else env
    envs = make_engine(
        source,
        1,
        engine=agent.engine_for(source),
        workers=1,
        frame_skip=agent.recipe.frame_skip,
        pixels=agent.pixels,
        extras=agent.observes_extras,
    )
    pipeline = agent.make_pipeline(1, raw=True)
    choose = agent.chooser(lambda: read_action_masks(envs), deterministic=True)
    images, total, n_latents = [], 0.0, agent.encoder.latent_dim
    try:
        raw = envs.reset([seed])
        observed = pipeline.reset(agent.raw_observations(raw, envs.reset_extras), [seed])
        for step_index in range(max_steps):
            # Record the image beside its reconstruction.
            image = raw[0] if raw[0].ndim == 3 else raw[0][..., None]  # gray without channels
            decoded = agent.encoder.reconstruct(observed.frames)[0]
            both = pictures.side_by_side(
                image, decoded, crop=agent.encoder.spec.crop, height=height
            )
            half = both.shape[1] // 2
            names = legend([("environment", half), (f"decoded from {n_latents} numbers", half)])
            images.append(np.concatenate([names, both]))
            # Act.
            action = choose(observed.now, np.array([step_index == 0]))
            step = envs.step(agent.converter.to_environment(action))
            total += float(step.rewards[0])
            if step.ended[0]:
                break
            raw = step.images
            observed = pipeline.step(agent.raw_observations(raw, step.extras), action)
    finally:
        envs.close()
    return Film(images, total)
