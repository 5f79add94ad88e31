"""Plays an exported agent in its environment, and compares its actions with the agent's."""

import copy
import json
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae import Agent


def play_exported(file: Path, steps: int = 40) -> tuple[list[Any], NDArray[Any], NDArray[Any]]:
    """Play with an exported agent, episode after episode.

    Returns:
        The raw observations, (steps,) whether each begins an episode, and the actions.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    facts, inputs = session.get_modelmeta().custom_metadata_map, session.get_inputs()
    paths = json.loads(facts["inputs"])
    memory = {i.name: np.zeros([1, *i.shape[1:]], "f4") for i in inputs[len(paths) + 1 :]}
    env = gym.make(facts["env_id"], **json.loads(facts["env_kwargs"]))
    seen, first = env.reset(seed=0)[0], True
    observations, starts, actions = [], [], []
    for _ in range(steps):
        shown = env.render() if facts["pixels"] == "render" else seen
        feed = {n: np.asarray(reduce(getitem, path, shown))[None] for n, path in paths.items()}
        action, *new = session.run(None, {**feed, "first": np.array([first]), **memory})
        memory = dict(zip(memory, new, strict=True))
        observations.append(copy.deepcopy(shown))
        starts.append(first)
        actions.append(action[0])
        assert env.action_space.contains(np.asarray(action[0]))
        seen, _, terminated, truncated, _ = env.step(action[0])
        first = terminated or truncated
        if first:
            seen = env.reset()[0]
    return observations, np.array(starts), np.stack(actions)


def agent_actions(agent: Agent, observations: list[Any], starts: NDArray[Any]) -> NDArray[Any]:
    """The agent's own actions for raw observations, of which some begin an episode."""
    pipeline = agent.make_pipeline(1, raw=True)
    own, state = None, None
    actions = []
    for observation, first in zip(observations, starts, strict=True):
        image = agent.pixels.apply(observation)
        if agent.extras_space is not None:
            paths = {name: agent.pixels.path_of(name) for name in agent.extras_space}
            extras = {name: reduce(getitem, path, observation) for name, path in paths.items()}
            observation = {**extras, agent.pixels.key: image}
        else:
            observation = image
        if first:
            observed = pipeline.reset([observation], [None])
        else:
            observed = pipeline.step([observation], own)
        now = observed.now
        if isinstance(now, list):
            now = {key: np.stack([row[key] for row in now]) for key in now[0]}
        start = np.array([bool(first)])
        own, state = agent.predict(now, state, start, deterministic=True)
        actions.append(agent.converter.to_environment(own)[0])
    return np.stack(actions)


def check_exported(agent: Agent, file: Path) -> None:
    """Check that an exported agent acts in its environment as the agent does, within 1e-5."""
    observations, starts, ours = play_exported(file)
    theirs = agent_actions(agent, observations, starts)
    assert starts.sum() > 1 and ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
