"""Deploy an agent as one ONNX file, played with onnxruntime and numpy alone.

First: python examples/own_game.py, then rl-vae export runs/meet/agent --out runs/meet/agent.onnx
The file holds preprocessing, encoder, history and policy.
"""

import json
import sys
from functools import reduce
from operator import getitem

import gymnasium as gym
import numpy as np
import onnxruntime

EPISODES = 20


def play(session: onnxruntime.InferenceSession, env: gym.Env, facts: dict, seed: int) -> float:
    """One episode: the return."""
    paths, inputs = json.loads(facts["inputs"]), session.get_inputs()
    memory = {i.name: np.zeros([1, *i.shape[1:]], "f4") for i in inputs[len(paths) + 1 :]}
    seen, total, first, over = env.reset(seed=seed)[0], 0.0, True, False
    while not over:
        shown = env.render() if facts["pixels"] == "render" else seen
        feed = {name: np.array(reduce(getitem, path, shown))[None] for name, path in paths.items()}
        action, *new = session.run(None, {**feed, "first": np.array([first]), **memory})
        memory, first = dict(zip(memory, new, strict=True)), False
        seen, reward, terminated, truncated, _ = env.step(action[0])
        over, total = terminated or truncated, total + float(reward)
    return total


if __name__ == "__main__":
    session = onnxruntime.InferenceSession("runs/meet/agent.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    env = gym.make(facts["env_id"], **json.loads(facts["env_kwargs"]))
    returns = [play(session, env, facts, seed) for seed in range(EPISODES)]
    print(f"mean return {np.mean(returns):.2f} over {EPISODES} episodes")
    print(f"torch imported: {'torch' in sys.modules}")
