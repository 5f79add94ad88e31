"""Updates: what one batch of frames does to a VAE in training, on any device.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rl_vae.models.vae import VAE
from rl_vae.objectives.base import LossInputs, Objective
from rl_vae.objectives.divergences import kl_per_dimension
from rl_vae.objectives.likelihoods import moving_weights
from rl_vae.training.checkpoint import State
from rl_vae.training.distributed import ProcessGroup
from rl_vae.training.precision import Precision


class StepSettings(NamedTuple):
    """What a training holds to from its first update to its last."""

    objective: Objective
    learning_rate: float
    """Adam's, at its highest."""
    lr_warm_up: float
    """Share of the updates over which it rises from 0."""
    total: int
    """Updates in all."""
    frames: int
    """How many are trained on."""
    precision: Precision
    moving_weight: float = 1.0
    usual: Tensor | None = None
    """(C, H, W) median frame, where moving pixels count more."""
    team: ProcessGroup = ProcessGroup()

    def rate(self, step: int) -> float:
        """The learning rate of an update: up in a line, level, down in a line to 0 from half on."""
        rising = (step + 1) / max(1.0, self.lr_warm_up * self.total)
        return self.learning_rate * min(1.0, rising, 2 * (1 - step / self.total))

    def schedule(self, step: int) -> float:
        """The objective's number that moves."""
        return self.objective.schedule(step / self.total)


class Update(NamedTuple):
    """What is told of an update."""

    loss: float
    """Nats a frame."""
    gradient_norm: float
    """Euclidean, over all weights of the VAE."""

    @property
    def finite(self) -> bool:
        """Whether it was made; one that is not finite is left out."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


class StepInputs(NamedTuple):
    """What a pass is computed from: all that is random about it is drawn."""

    x: Tensor
    """(B, C, H, W) in [0, 1]: what is to be drawn."""
    shown: Tensor
    """(B, C, H, W): what the encoder sees."""
    noise: Tensor | None
    """(B, Z) of N(0, 1); None where the objective draws no z."""


def draw_inputs(state: State, frames: Tensor, plan: StepSettings) -> StepInputs:
    """What a pass needs of frames (B, H, W, C) uint8, where the weights are."""
    objective, team = plan.objective, plan.team
    x = VAE.to_input(frames)
    shown = team.shard(objective.corrupt(team.repeat_for_all(x), state.noise))
    noise = None
    if not objective.deterministic:
        shape = team.size * len(x), state.vae.config.latent_dim
        noise = team.shard(torch.randn(shape, generator=state.noise, device=x.device))
    return StepInputs(x, shown, noise)


def run_pass(vae: VAE, inputs: StepInputs, plan: StepSettings) -> LossInputs:
    """Through the autoencoder, as its objective wants it; draws nothing."""
    x, shown, noise = inputs
    with plan.precision.autocast(x.device):
        posterior = vae.encode(shown)
        z = posterior.mu if noise is None else vae.reparameterise(posterior, noise)  # (B, Z)
        logits = vae.decode_logits(z)
    weights = None
    if plan.usual is not None:
        weights = moving_weights(x, plan.usual, plan.moving_weight)
    lost = vae.distortion(logits, x, weights)
    kl = kl_per_dimension(posterior.mu, posterior.logvar)
    return LossInputs(lost, kl, posterior.mu, posterior.logvar, z, plan.frames)


def update_weights(state: State, frames: Tensor, plan: StepSettings) -> Update:
    """One update with frames (B, H, W, C) uint8; counts itself, leaves out what is not finite."""
    objective = plan.objective
    for group in state.optimizer.param_groups:
        group["lr"] = plan.rate(state.step)
    inputs = draw_inputs(state, frames, plan)
    out = plan.team.gather(lambda: run_pass(state.vae, inputs, plan))
    loss = objective.terms(out, plan.schedule(state.step), state.discriminator).loss
    norm = backward(state, loss)
    update = Update(float(loss.detach()), float(norm))
    if update.finite:
        state.optimizer.step()
        update_discriminator(state, out.z.detach(), objective)
    else:
        state.skipped += 1
    state.step += 1
    return update


def backward(state: State, loss: Tensor) -> Tensor:
    """Fresh gradients of the VAE's weights, and their norm."""
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gradients = [weight.grad for weight in state.vae.parameters() if weight.grad is not None]
    return nn.utils.get_total_norm(gradients)


def update_discriminator(state: State, z: Tensor, objective: Objective) -> None:
    """One update of the discriminator, if there is one, on the codes (B, Z) of the same batch."""
    if state.discriminator is None or state.discriminator_optimizer is None:
        return
    loss = objective.discriminator_loss(state.discriminator, z, state.noise)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.discriminator_optimizer.step()
