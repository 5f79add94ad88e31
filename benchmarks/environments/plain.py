"""Pictures of an environment by plain Gymnasium, without rl_vae; pipeline.py starts this script.

    python plain.py ROW PLACE OUT

ROW is the environment's table as JSON. PLACE is "render", or the keys that lead from the
observation to the image, as a JSON list. OUT.npz gets the pictures at every fifth step of a
random walk.
"""

import copy
import json
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

MOMENTS, SEED = 8, 7


def main() -> None:
    row, (place, out) = json.loads(sys.argv[1]), sys.argv[2:]
    env = gym.make(row["id"], **{"render_mode": "rgb_array", **row.get("kwargs", {})})
    pictures = []
    if place == "render":
        # As rl_vae does: some cameras depend on the first state that is drawn.
        env.reset(seed=0)
        env.render()
    for observation in walk(env):
        if place == "render":
            pictures.append(np.array(env.render()))
            continue
        for key in json.loads(place):
            observation = observation[key]
        pictures.append(np.array(observation))
    env.close()
    np.savez(out, pictures=np.stack(pictures))


def walk(env: gym.Env[Any, Any]) -> Iterator[Any]:
    """Act at random from a seed, and yield the observation at every fifth step."""
    space = copy.deepcopy(env.action_space)  # some environments replace theirs at a reset
    space.seed(SEED)
    observation, _ = env.reset(seed=SEED)
    for step in range(5 * MOMENTS):
        if step % 5 == 4:
            yield observation
        observation, _, terminated, truncated, _ = env.step(space.sample())
        if terminated or truncated:
            observation, _ = env.reset()


if __name__ == "__main__":
    main()
