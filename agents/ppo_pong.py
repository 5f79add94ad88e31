"""PPO for ALE/Pong-v5.

    rl-vae collect ALE/Pong-v5 --out data/pong --crop 34 16 0 0
    rl-vae train-vae data/pong --out models/pong --moving-weight 100 --steps 4000
    rl-vae train-agent ALE/Pong-v5 --encoder models/pong --out agents/pong --agent ppo_pong

The crop keeps the field without score and border. The ball is one or two of 4,096 pixels: without
a larger weight on moving pixels a VAE does not encode it, and the agent learns nothing. Atari
repeats each action for four frames itself, so there is no frame skip here. Four codes contain the
direction of the ball. Emulation is fast (4,500 decisions per second and core) and rewards are rare,
so there are many environments and few epochs per rollout. Seeds 0, 1 and 2 scored 0.6, 12.3 and 7.1
over 20 games each; seed 0 with a refreshed VAE, trained for as many decisions again, scored 13.6
(RESULTS.md).
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
