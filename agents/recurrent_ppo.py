"""RecurrentPPO (the extra contrib) for tasks that need memory beyond a few stacked codes.

The LSTM keeps what an observation no longer shows, so one code is enough. docs/memory_study.md
compares it with stacked codes on a maze whose cue is shown in the first image alone.
"""

from rl_vae import Recipe

RECIPE = Recipe(
    algorithm="RecurrentPPO",
    total_steps=100_000,
    n_envs=16,
    stack=1,
    standardise=True,
    learning_rate=1e-3,
    final_learning_rate=0.0,
    hyperparameters={
        "n_steps": 64,
        "batch_size": 256,
        "n_epochs": 4,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "ent_coef": 0.01,
        "policy_kwargs": {"net_arch": [64], "lstm_hidden_size": 64},
    },
)
