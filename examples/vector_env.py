"""Wrap a vector environment of Gymnasium, and play it: all environments are encoded in one call.

Final observations are encoded, too: a value function that bootstraps at a time limit needs them.
"""

import time

import gymnasium as gym
import numpy as np

import rl_vae

FRAMES, UPDATES, STEPS = 4_000, 400, 500

if __name__ == "__main__":
    dataset = rl_vae.collect_frames("CartPole-v1", "runs/cartpole/data", n_frames=FRAMES)
    training = rl_vae.TrainConfig(steps=UPDATES)
    rl_vae.train_vae(dataset, "runs/cartpole/vae", train_config=training)
    envs = gym.vector.SyncVectorEnv(
        [lambda: rl_vae.make_env("CartPole-v1")] * 8,
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
    )
    envs = rl_vae.VectorLatentObservation(envs, "runs/cartpole/vae", stack=4, actions=1)
    print(f"observations: {envs.observation_space.shape}, 4 codes of 32 and the last action")
    observations, _ = envs.reset(seed=0)
    envs.action_space.seed(0)
    ended, start = 0, time.perf_counter()
    for _ in range(STEPS):
        observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
        ends = terminated | truncated
        if ends.any():
            final = np.stack(list(infos["final_obs"][ends]))
            assert final.shape == (ends.sum(), *envs.single_observation_space.shape)
            ended += int(ends.sum())
    rate = STEPS * envs.num_envs / (time.perf_counter() - start)
    print(f"{ended} episodes ended, {rate:,.0f} decisions per second with pictures and codes")
    envs.close()
