"""Which beta is worth most to an agent? Betas beside PCA, with seeds, scores and intervals.

Killed in the middle, it goes on where it was; with more seeds in SEEDS it adds only these. As a
command: rl-vae compare own_game:Meet-v0 --out runs/betas --beta 1 16 --baselines pca --seeds 3
"""

import rl_vae

BETAS, SEEDS = (1.0, 16.0), (0, 1, 2)
FRAMES, UPDATES, STEPS = 2_000, 200, 6_000

if __name__ == "__main__":
    config = rl_vae.ComparisonConfig(
        env_id="own_game:Meet-v0",  # own_game.py beside this file
        recipe=rl_vae.Recipe("PPO", STEPS, stack=1, hyperparameters={"n_steps": 64}),
        betas=BETAS,
        baselines=("pca",),  # also pixels, random, autoencoder, state, or a model folder
        seeds=SEEDS,
        frames=FRAMES,
        spec=rl_vae.FrameSpec(height=32, width=32),
        vae=rl_vae.VAEConfig(latent_dim=8),
        train=rl_vae.TrainConfig(steps=UPDATES, batch_size=32),
        episodes=20,
    )
    comparison = rl_vae.compare(config, "runs/betas")
    print((comparison.path / "table.md").read_text())
    report = rl_vae.write_report("runs/betas.html", [], comparison=comparison.path)
    print(f"{report.path}: the same as a page")
