"""ALE/Pong-v5 by PPO.

    rl-vae collect ALE/Pong-v5 --out data/pong --crop 34 16 0 0
    rl-vae train-vae data/pong --out models/pong --moving-weight 100 --steps 4000
    rl-vae train-agent ALE/Pong-v5 --encoder models/pong --out agents/pong --agent ppo_pong

The field alone, without score and frame. The ball is one or two pixels of 4,096: without weights
on what moves a VAE leaves it out, and nothing can be learned from a code without a ball. Atari
holds each action for four frames by itself, so no skip here; four codes show which way the ball
flies. Many environments and few passes over each rollout: emulating is cheap (4,500 decisions a
second and core), and points are rare. Seeds 0, 1 and 2 scored 0.6, 12.3, 7.1 over 20 games each;
seed 0 went on, its VAE refreshed, for as many decisions again and scored 13.6 (RESULTS.md).
"""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="PPO",
    total_steps=1_500_000,
    n_envs=16,
    stack=4,
    learning_rate=7e-4,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 128,
        "batch_size": 256,
        "n_epochs": 6,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "ent_coef": 0.01,
        "clip_range": 0.15,
        "policy_kwargs": {"net_arch": [256, 256], "activation_fn": "relu"},
    },
)
