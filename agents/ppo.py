"""PPO for any environment and any action space: the recipe to start with."""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="PPO",
    total_steps=100_000,
    n_envs=8,
    stack=4,
    learning_rate=7e-4,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 128,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "policy_kwargs": {"net_arch": [128, 128]},
    },
)
