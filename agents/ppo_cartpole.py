r"""PPO for CartPole-v1 from its rendered image.

    rl-vae collect CartPole-v1 --out data/cartpole --frames 6000
    rl-vae train-vae data/cartpole --out models/cartpole --steps 1000
    rl-vae train-agent CartPole-v1 --encoder models/cartpole --out agents/cartpole \
        --agent ppo_cartpole

One image shows positions but no velocities; four codes contain both. There is no frame skip,
because the pole falls within a few steps. The horizon is short (gamma 0.98), because every step
has the same reward. Seeds 0, 1 and 2 reached 500 of 500 (RESULTS.md).
"""

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
