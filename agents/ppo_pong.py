"""ALE/Pong-v5 by PPO."""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="PPO",
    total_steps=1_000_000,
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
