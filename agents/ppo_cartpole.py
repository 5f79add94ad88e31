"""CartPole-v1 from its rendered picture, by PPO."""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="PPO",
    total_steps=60_000,
    n_envs=8,
    stack=4,
    learning_rate=1e-3,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 128,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.98,
        "gae_lambda": 0.9,
        "policy_kwargs": {"net_arch": [128, 128]},
    },
)
