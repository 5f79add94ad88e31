"""Pendulum-v1 from its rendered picture, by SAC."""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="SAC",
    total_steps=16_000,
    n_envs=4,
    frame_skip=2,
    stack=3,
    actions=1,
    reward_scale=0.1,
    learning_rate=1e-3,
    hyperparameters={
        "buffer_size": 20_000,
        "learning_starts": 800,
        "batch_size": 256,
        "train_freq": 1,
        "gradient_steps": 4,
        "gamma": 0.97,
        "tau": 0.01,
        "policy_kwargs": {"net_arch": [128, 128]},
    },
)
