r"""PPO for rl_vae/Sprites-v0.

    rl-vae collect rl_vae/Sprites-v0 --out data/sprites --frames 24000 --height 40 --width 40
    rl-vae train-vae data/sprites --out models/sprites --latent-dim 16 --likelihood bernoulli \
        --steps 2000
    rl-vae train-agent rl_vae/Sprites-v0 --encoder models/sprites --out agents/sprites \
        --agent ppo_sprites

Nothing moves by itself, so one code is enough. The settings are those of
benchmarks/study_comparison.py with more updates of the VAE and more decisions: there an agent has
16,384.
"""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="PPO",
    total_steps=400_000,
    n_envs=8,
    stack=1,
    learning_rate=1e-3,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 64,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.98,
        "gae_lambda": 0.9,
        "policy_kwargs": {"net_arch": [64, 64]},
    },
)
