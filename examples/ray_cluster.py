"""Collect frames and train several VAEs on a Ray cluster. First: pip install "rl-vae[ray]"

Without a cluster Ray starts one on this machine. RayExecutor("ray://HOST:10001") takes another one.
"""

import rl_vae

FRAMES, UPDATES = 10_000, 500
BETAS, SEEDS = (1.0, 4.0), (0, 1)

if __name__ == "__main__":
    runs = {
        f"beta{beta:g}-seed{seed}": rl_vae.TrainConfig(
            objective=rl_vae.Beta(beta), steps=UPDATES, seed=seed
        )
        for beta in BETAS
        for seed in SEEDS
    }
    vae = rl_vae.VAEConfig(latent_dim=8)
    with rl_vae.RayExecutor() as executor:
        # Each shard of frames, and each training, is a job. What is finished is kept.
        dataset = rl_vae.collect_frames(
            "CartPole-v1", "runs/ray/data", n_frames=FRAMES, executor=executor
        )
        models = rl_vae.train_sweep(dataset, "runs/ray/sweep", runs, vae, executor=executor)
    print(f"{len(dataset):,} frames, digest {dataset.digest[:12]}")
    for name, model in models.items():
        print(f"{name}: distortion {model.held_out.distortion:.1f}, KL {model.held_out.rate:.1f}")
