"""Film of an agent: one episode, each image beside its reconstruction by the decoder."""

from __future__ import annotations

from typing import NamedTuple

from rl_vae.agents.agent import Agent
from rl_vae.envs.registry import make_engine
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures


class Film(NamedTuple):
    """Pictures of one episode."""

    images: list[UInt8Array]
    """Pictures (h, w, 3): the environment's image, and right of it its reconstruction."""
    total: float
    """Return of the episode."""


def film_agent(agent: Agent, *, seed: int, max_steps: int = 1000, height: int = 192) -> Film:
    """Let an agent play one episode without noise, and keep the pictures.

    Args:
        agent: The agent.
        seed: Seed of the environment, such as one of `evaluation_seeds`.
        max_steps: Largest number of decisions.
        height: Height of the pictures in pixels.
    """
    env = make_engine(
        agent.env_id,
        1,
        engine=agent.engine,
        workers=1,
        frame_skip=agent.recipe.frame_skip,
        pixels=agent.pixels,
        env_kwargs=agent.env_kwargs,
        extras=agent.observes_extras,
    )
    pipeline = agent.make_pipeline(1, raw=True)
    images, total = [], 0.0
    try:
        raw = env.reset([seed])
        observed = pipeline.reset(agent.raw_observations(raw, env.reset_extras), [seed])
        for _ in range(max_steps):
            # Record the image beside its reconstruction.
            image = raw[0] if raw[0].ndim == 3 else raw[0][..., None]  # gray without channels
            decoded = agent.encoder.reconstruct(observed.frames)[0]
            images.append(pictures.side_by_side(image, decoded, height=height))
            # Act.
            action = agent.predict(observed.now)
            step = env.step(agent.converter.to_environment(action))
            total += float(step.rewards[0])
            if step.ended[0]:
                break
            raw = step.images
            observed = pipeline.step(agent.raw_observations(raw, step.extras), action)
    finally:
        env.close()
    return Film(images, total)
