"""An objective of one's own: InfoVAE with the maximum mean discrepancy (Zhao et al. 2017).

loss = distortion + (1 - alpha) KL + (alpha + lambda - 1) MMD; alpha = 1 leaves distortion and MMD,
the MMD-VAE. The same as a command, without a line of Python:

    rl-vae train-vae data/digits --out models/mmd --objective examples/own_objective.py:MMD
"""

from dataclasses import dataclass

import torch

import rl_vae
from rl_vae import LossTerms, Objective


def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean of exp(-|a - b|^2 / Z) over all pairs: a (B, Z), b (B, Z)."""
    return torch.exp(-(a[:, None] - b[None]).square().sum(2) / a.shape[1]).mean()


@dataclass(frozen=True)
class MMD(Objective):
    """MMD-VAE: loss = distortion + weight MMD(q(z), N(0, 1)); MMD is estimated on the batch."""

    weight: float = 500.0
    """Weight of the discrepancy, lambda."""

    def max_kl_weight(self) -> float:
        """The KL has no weight of its own."""
        return 0.0

    def terms(self, inputs, scheduled, discriminator=None) -> LossTerms:
        """The loss of a batch."""
        prior = torch.randn_like(inputs.z)
        mmd = kernel(inputs.z, inputs.z) + kernel(prior, prior) - 2 * kernel(inputs.z, prior)
        distortion, rate = inputs.distortion.mean(), inputs.kl.sum(1).mean()
        return LossTerms(distortion + self.weight * mmd, distortion, rate, {"mmd": mmd})


if __name__ == "__main__":
    FRAMES, UPDATES = 2_000, 300
    dataset = rl_vae.collect_sprites("runs/own/data", n_frames=FRAMES)
    for name, objective in {"mmd": MMD(), "beta": rl_vae.Beta(1.0)}.items():
        training = rl_vae.TrainConfig(objective=objective, steps=UPDATES, batch_size=32)
        model = rl_vae.train_vae(dataset, f"runs/own/{name}", train_config=training)
        held_out = model.held_out
        print(f"{name:5} distortion {held_out.distortion:8.1f}, KL {held_out.rate:6.1f} nats")
