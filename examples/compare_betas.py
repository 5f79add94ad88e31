"""Which beta is worth most to an agent? Betas beside PCA, with seeds, scores and intervals.

Killed in the middle, it goes on where it was. With more seeds in SEEDS it adds only these. As a
command: `rl-vae compare CartPole-v1 --out runs/betas --beta 1 16 --baselines pca --seeds 3`
"""

import rl_vae

BETAS, SEEDS = (1.0, 16.0), (0, 1, 2)
FRAMES, UPDATES, STEPS = 2_000, 150, 10_000

if __name__ == "__main__":
    config = rl_vae.ComparisonConfig(
        env_id="CartPole-v1",
        recipe=rl_vae.Recipe("PPO", STEPS, n_envs=4, hyperparameters={"n_steps": 128}),
        betas=BETAS,
        baselines=("pca",),  # also pixels, random, autoencoder, state, or a model folder
        seeds=SEEDS,
        frames=FRAMES,
        train=rl_vae.TrainConfig(steps=UPDATES),
        episodes=10,
    )
    comparison = rl_vae.compare(config, "runs/betas")
    print((comparison.path / "table.md").read_text())
    report = rl_vae.write_report("runs/betas.html", [], comparison=comparison.path)
    print(f"{report.path}: the same as a page")
