"""SAC on codes of Pendulum: continuous actions, a replay buffer of small numbers.

Pendulum's returns lie between -1,600 and 0. A transition of four codes of 16 numbers is 256 bytes
in the buffer; four frames of 64 x 64 x 3 would be 49,152.
"""

import rl_vae

FRAMES, UPDATES, STEPS = 4_000, 400, 6_000

if __name__ == "__main__":
    dataset = rl_vae.collect_frames("Pendulum-v1", "runs/pendulum/data", n_frames=FRAMES)
    training = rl_vae.TrainConfig(steps=UPDATES)
    rl_vae.train_vae(dataset, "runs/pendulum/vae", rl_vae.VAEConfig(latent_dim=16), training)
    recipe = rl_vae.Recipe(
        "SAC",
        STEPS,
        stack=4,
        actions=2,  # the last two actions are observed, too
        standardise=True,
        n_envs=1,
        learning_rate=1e-3,
        hyperparameters={"learning_starts": 500, "buffer_size": 20_000},
    )
    rl_vae.train_agent("Pendulum-v1", "runs/pendulum/vae", "runs/pendulum/agent", recipe)
    result = rl_vae.evaluate_agent("runs/pendulum/agent", episodes=10)
    print(f"mean return {result.mean:.0f} ({result.ci_low:.0f} to {result.ci_high:.0f})")
