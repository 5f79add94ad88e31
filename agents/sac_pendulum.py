r"""SAC for Pendulum-v1 from its rendered image.

    rl-vae collect Pendulum-v1 --out data/pendulum --frames 4000
    rl-vae train-vae data/pendulum --out models/pendulum --steps 1000
    rl-vae train-agent Pendulum-v1 --encoder models/pendulum --out agents/pendulum \
        --agent sac_pendulum

A torque is repeated for two steps (0.1 seconds): rendering takes most of the time, 500 images per
second. Three codes contain the angular velocity; the past torque is the one that the arrow in the
image shows. An update of these small networks takes less time than an image, so there are as many
updates as decisions. Rewards reach -16 per step, so they are scaled. Seeds 0, 1 and 2 reached -150,
-149 and -149 (RESULTS.md).
"""

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
