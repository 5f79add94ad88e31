"""An agent as a collection policy: it acts in the environments whose frames are collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rl_vae.data.policies import PolicyContext
from rl_vae.errors import ConfigError
from rl_vae.frames import UInt8Array
from rl_vae.sb3.actions import ActionConverter
from rl_vae.sb3.play import Chooser
from rl_vae.wrappers.pipeline import LatentPipeline


def start_collecting(agent: Any, context: PolicyContext) -> CollectingAgent:
    """Return a function that samples an agent's actions while frames are collected.

    Args:
        agent: An Agent, whose module imports this one.
        context: Where the agent acts.

    Raises:
        ConfigError: if frames, frame skip or actions differ from those of the training.
    """
    # Frames and their rate
    required = (agent.encoder.spec, agent.recipe.frame_skip)
    if (context.spec, context.frame_skip) != required:
        raise ConfigError(
            f"The agent {agent.path} cannot act on these frames.",
            expected=f"{required[0]}, frame_skip={required[1]}",
            got=f"{context.spec}, frame_skip={context.frame_skip}",
            remedy="collect with the spec and the frame_skip of the agent's training",
        )
    # Actions, and the other entries of an observation
    converter = ActionConverter(agent.recipe.action_map, context.action_space)
    remedy = f"collect in the environment of the agent's training, {agent.env_id}"
    if converter.agent_space != agent.action_space:
        raise ConfigError(
            f"The agent {agent.path} has other actions.",
            expected=context.action_space,
            got=agent.action_space,
            remedy=remedy,
        )
    if agent.observes_extras and context.extras_space != agent.extras_space:
        raise ConfigError(
            f"The agent {agent.path} observes other entries of the environment's Dict.",
            expected=agent.extras_space,
            got=context.extras_space,
            remedy=remedy,
        )
    # The function
    seed = int(np.random.SeedSequence(context.seed).generate_state(1)[0])
    pipeline = agent.make_pipeline(context.n_envs, seed=seed)
    choose = agent.chooser(context.read_masks, deterministic=False)
    return CollectingAgent(choose, pipeline, converter, context, agent.raw_observations)


class CollectingAgent:
    """Function that chooses an agent's actions for frames, with noise as in training.

    Args:
        choose: Chooses the agent's actions.
        pipeline: From frames to the agent's observations.
        converter: From the agent's actions to the environment's.
        context: Where the agent acts.
        join: Joins images and extras to raw observations of the pipeline.
    """

    def __init__(
        self,
        choose: Chooser,
        pipeline: LatentPipeline,
        converter: ActionConverter,
        context: PolicyContext,
        join: Callable[[UInt8Array, Any], Any],
    ) -> None:
        self._read_extras, self._join = context.read_extras, join
        self._choose, self._pipeline, self._converter = choose, pipeline, converter
        self._actions: NDArray[Any] | None = None
        self._seeds = np.random.default_rng(context.seed)

    def __call__(self, images: UInt8Array, is_first: NDArray[np.bool_]) -> NDArray[Any]:
        """Choose the environments' actions (N, ...) for frames (N, H, W, C).

        Args:
            images: (N, H, W, C) uint8 frames.
            is_first: (N,) whether a frame is the first one of an episode.
        """
        raw = self._join(images, self._read_extras())
        if self._actions is None:
            observed = self._pipeline.reset(raw, [None] * len(images))
        else:
            observed = self._pipeline.step(raw, self._actions, is_first=is_first)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._seeds.integers(2**31)))
            self._actions = self._choose(observed.now, is_first)
        return self._converter.to_environment(self._actions)
