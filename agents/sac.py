"""SAC for Box actions: fewer environment steps than PPO, more computation per step."""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="SAC",
    total_steps=50_000,
    n_envs=4,
    stack=4,
    actions=1,
    learning_rate=7e-4,
    hyperparameters={
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "batch_size": 256,
        "train_freq": 4,
        "gradient_steps": 4,
        "gamma": 0.99,
        "policy_kwargs": {"net_arch": [128, 128]},
    },
)
