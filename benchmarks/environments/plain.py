"""Pictures of an environment by plain Gymnasium, without rl_vae; pipeline.py starts this script.

    python plain.py ROW SOURCE KEY OUT

ROW is the environment's table as JSON. SOURCE is "observation", "dict" or "render", KEY the entry
of a Dict observation. OUT.npz gets the pictures at every fifth step of a random walk.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

MOMENTS, SEED = 8, 7


def main() -> None:
    row, (source, key, out) = json.loads(sys.argv[1]), sys.argv[2:]
    env = gym.make(row["id"], **{"render_mode": "rgb_array", **row.get("kwargs", {})})
    pictures = []
    for observation in walk(env):
        if source == "render":
            pictures.append(np.array(env.render()))
        else:
            pictures.append(np.array(observation[key] if source == "dict" else observation))
    env.close()
    np.savez(out, pictures=np.stack(pictures))


def walk(env: gym.Env[Any, Any]) -> Iterator[Any]:
    """Act at random from a seed, and yield the observation at every fifth step."""
    env.action_space.seed(SEED)
    observation, _ = env.reset(seed=SEED)
    for step in range(5 * MOMENTS):
        if step % 5 == 4:
            yield observation
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            observation, _ = env.reset()


if __name__ == "__main__":
    main()
