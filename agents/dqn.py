"""DQN for Discrete actions, with a replay buffer."""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="DQN",
    total_steps=100_000,
    n_envs=4,
    stack=4,
    learning_rate=1e-3,
    final_learning_rate=1e-4,
    hyperparameters={
        "buffer_size": 100_000,
        "learning_starts": 2_000,
        "batch_size": 128,
        "train_freq": 16,
        "gradient_steps": 16,
        "target_update_interval": 500,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.04,
        "gamma": 0.99,
        "policy_kwargs": {"net_arch": [128, 128]},
    },
)
