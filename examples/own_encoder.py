"""An encoder of one's own: a PCA of scikit-learn and a torch network as model folders.

Whatever maps frames to numbers serves agents, wrappers, scores and exports; no VAE is needed.
"""

import numpy as np
import torch
from sklearn.decomposition import PCA
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import rl_vae
from rl_vae.sb3 import VecLatent

FRAMES, STEPS = 4_000, 12_000

if __name__ == "__main__":
    dataset = rl_vae.collect_frames("CartPole-v1", "runs/cartpole/data", n_frames=FRAMES)
    pixels = dataset.frames(np.arange(0, len(dataset), 4)) / 255  # (N, H, W, C) in [0, 1]
    pca = PCA(16, random_state=0).fit(pixels.reshape(len(pixels), -1))
    rl_vae.save_encoder("runs/own_encoders/pca", pca, dataset=dataset)

    torch.manual_seed(0)  # here a trained network of your project: (B, C, H, W) in [0, 1] to (B, Z)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 8, stride=8),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 8 * 8, 16),
    )
    rl_vae.save_encoder("runs/own_encoders/network", network, dataset=dataset)

    for name in ("pca", "network"):
        folder = f"runs/own_encoders/{name}"
        games = make_vec_env(lambda: rl_vae.make_env("CartPole-v1"), 4, seed=0)
        venv = VecLatent(games, folder, stack=4, standardise=True)
        model = PPO("MlpPolicy", venv, n_steps=256, learning_rate=1e-3, seed=0).learn(STEPS)
        mean, _ = evaluate_policy(model, venv, n_eval_episodes=10)
        print(f"{name:8} mean return {mean:.0f} after {STEPS:,} steps")
