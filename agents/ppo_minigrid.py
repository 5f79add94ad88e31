"""MiniGrid-Empty-8x8-v0 from a picture of the whole grid, by PPO."""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="PPO",
    total_steps=61_440,
    n_envs=16,
    stack=1,
    learning_rate=1e-3,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 128,
        "batch_size": 256,
        "n_epochs": 8,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "ent_coef": 0.01,
        "policy_kwargs": {"net_arch": [128, 128]},
    },
)
