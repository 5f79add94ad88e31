r"""PPO for MiniGrid-Empty-8x8-v0 from an image of the whole grid.

    rl-vae collect MiniGrid-Empty-8x8-v0 --out data/minigrid --frames 4000 --correlation 0.5 \
        --env-kwargs '{"tile_size": 8}'
    rl-vae train-vae data/minigrid --out models/minigrid --steps 600
    rl-vae train-agent MiniGrid-Empty-8x8-v0 --encoder models/minigrid --out agents/minigrid \
        --agent ppo_minigrid --env-kwargs '{"tile_size": 8}'

Tiles of 8 pixels give images of 64 x 64, so that nothing is resized. Nothing moves by itself, so
one code is enough. Only the goal gives a reward, and random actions seldom reach it; a large
entropy coefficient keeps the agent exploring. Seeds 0, 1 and 2 reached .958; the shortest path
gives .961. With a coefficient of 0.01, eight epochs and a learning rate of 1e-3, seed 2 ended at 0
(RESULTS.md).
"""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="PPO",
    total_steps=61_440,
    n_envs=16,
    stack=1,
    learning_rate=5e-4,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 128,
        "batch_size": 256,
        "n_epochs": 4,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "ent_coef": 0.03,
        "policy_kwargs": {"net_arch": [128, 128]},
    },
)
