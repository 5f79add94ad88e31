r"""PPO for ALE/Pong-v5.

    rl-vae collect ALE/Pong-v5 --out data/pong --height 80 --channels 1 --crop 34 16 16 16
    rl-vae train-vae data/pong --out models/pong --network narrow --steps 3000 \
        --moving-weight 100
    rl-vae train-agent ALE/Pong-v5 --encoder models/pong --out agents/pong --agent ppo_pong

The crop keeps the field without score and border, and every pixel of a frame is a mean of 2 x 2.
The ball is one or two of 5,120 pixels: without a larger weight on moving pixels a VAE does not
encode it, and the agent learns nothing. Atari repeats each action for four frames itself, so there
is no frame skip here. Four codes contain the direction of the ball. The narrow network encodes a
frame in less than a third of the time of "patch". Rewards are rare, so there are many environments
and few epochs per rollout. Seeds 0 and 1 scored 16.8 and 17.9 over 20 games each; seed 2 was
stopped after 1.65 million decisions, at a training return of -12 (RESULTS.md).
"""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="PPO",
    total_steps=3_500_000,
    n_envs=32,
    stack=4,
    standardise=True,
    learning_rate=7e-4,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 64,
        "batch_size": 256,
        "n_epochs": 4,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "ent_coef": 0.01,
        "clip_range": 0.15,
        "policy_kwargs": {"net_arch": [256, 256], "activation_fn": "relu"},
    },
)
