"""Updates: what one batch of frames does to a VAE in training, on any device.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rl_vae.arithmetic import Arithmetic
from rl_vae.checkpoint import State
from rl_vae.densities import kl_per_dimension, moving_weights
from rl_vae.parallel import Team
from rl_vae.terms import Objective, Pass
from rl_vae.vae import VAE


class Plan(NamedTuple):
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
    arithmetic: Arithmetic
    moving_weight: float = 1.0
    usual: Tensor | None = None
    """(C, H, W) median frame, where moving pixels count more."""
    team: Team = Team()

    def rate(self, step: int) -> float:
        """The learning rate of an update: up in a line, level, down in a line to 0 from half on."""
        rising = (step + 1) / max(1.0, self.lr_warm_up * self.total)
        return self.learning_rate * min(1.0, rising, 2 * (1 - step / self.total))

    def weight(self, step: int) -> float:
        """The objective's number that moves."""
        return self.objective.weight(step / self.total)


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


class Inputs(NamedTuple):
    """What a pass is computed from: all that is random about it is drawn."""

    x: Tensor
    """(B, C, H, W) in [0, 1]: what is to be drawn."""
    shown: Tensor
    """(B, C, H, W): what the encoder sees."""
    noise: Tensor | None
    """(B, Z) of N(0, 1); None where the objective draws no z."""


def draw_inputs(state: State, frames: Tensor, plan: Plan) -> Inputs:
    """What a pass needs of frames (B, H, W, C) uint8, where the weights are."""
    objective, team = plan.objective, plan.team
    x = VAE.to_input(frames)
    shown = team.own(objective.corrupt(team.everyones(x), state.noise))
    noise = None
    if not objective.deterministic:
        shape = team.size * len(x), state.vae.config.latent_dim
        noise = team.own(torch.randn(shape, generator=state.noise, device=x.device))
    return Inputs(x, shown, noise)


def run_pass(vae: VAE, inputs: Inputs, plan: Plan) -> Pass:
    """Through the autoencoder, as its objective wants it; draws nothing."""
    x, shown, noise = inputs
    with plan.arithmetic.autocast(x.device):
        posterior = vae.encode(shown)
        z = posterior.mu if noise is None else vae.reparameterise(posterior, noise)  # (B, Z)
        logits = vae.decode_logits(z)
    weights = None
    if plan.usual is not None:
        weights = moving_weights(x, plan.usual, plan.moving_weight)
    lost = vae.distortion(logits, x, weights)
    kl = kl_per_dimension(posterior.mu, posterior.logvar)
    return Pass(lost, kl, posterior.mu, posterior.logvar, z, plan.frames)


def update_weights(state: State, frames: Tensor, plan: Plan) -> Update:
    """One update with frames (B, H, W, C) uint8; counts itself, leaves out what is not finite."""
    objective = plan.objective
    for group in state.optimizer.param_groups:
        group["lr"] = plan.rate(state.step)
    inputs = draw_inputs(state, frames, plan)
    out = plan.team.gather(lambda: run_pass(state.vae, inputs, plan))
    loss = objective.terms(out, plan.weight(state.step), state.critic).loss
    norm = backward(state, loss)
    update = Update(float(loss.detach()), float(norm))
    if update.finite:
        state.optimizer.step()
        update_critic(state, out.z.detach(), objective)
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


def update_critic(state: State, z: Tensor, objective: Objective) -> None:
    """One update of the discriminator, if there is one, on the codes (B, Z) of the same batch."""
    if state.critic is None or state.critic_optimizer is None:
        return
    loss = objective.critic_loss(state.critic, z, state.noise)
    state.critic_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.critic_optimizer.step()
