"""TrainStep: one update of a VAE, on any device; and the forward pass of an autoencoder.

Shape letters: B batch, C H W frame, Z latents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rl_vae.errors import TrainingError
from rl_vae.models.frame_model import FrameModel
from rl_vae.objectives.base import LossInputs
from rl_vae.objectives.divergences import kl_per_dimension
from rl_vae.objectives.likelihoods import moving_weights
from rl_vae.training.config import TrainConfig
from rl_vae.training.distributed import SINGLE_PROCESS, ForwardOutput, ProcessGroup
from rl_vae.training.head_measures import HeadEvaluation
from rl_vae.training.head_network import head_losses
from rl_vae.training.head_targets import HeadTargets
from rl_vae.training.precision import FLOAT32, Precision, choose_precision
from rl_vae.training.state import TrainState

MAX_SKIPPED = 20
"""Number of skipped updates in a row that end a training with an error."""


class Update(NamedTuple):
    """Result of one update."""

    loss: float
    """Loss of the batch in nats per frame."""
    gradient_norm: float
    """Euclidean norm of the gradient over all weights of the VAE and of the heads."""

    @property
    def finite(self) -> bool:
        """Whether both numbers are finite. If not, the update was skipped."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


class StepInputs(NamedTuple):
    """Inputs of a forward pass. All random numbers are drawn, so that a pass is a function."""

    x: Tensor
    """(B, C, H, W) frames in [0, 1]: the target of the reconstruction."""
    shown: Tensor
    """(B, C, H, W) frames that the encoder gets; a denoising objective corrupts them."""
    noise: Tensor | None
    """(B, Z) draws of N(0, 1). None if the objective decodes mu."""
    targets: HeadTargets | None = None
    """Actions and targets of these frames, if there are heads."""


class PassOutput(NamedTuple):
    """Outputs of a forward pass."""

    loss_inputs: LossInputs
    """Inputs of the objective."""
    logits: Tensor
    """(B, C, H, W) logits of the reconstruction."""


def run_pass(
    vae: FrameModel,
    inputs: StepInputs,
    n_frames: int,
    *,
    precision: Precision = FLOAT32,
    median_frame: Tensor | None = None,
    moving_weight: float = 1.0,
) -> PassOutput:
    """Encode, sample and decode a batch. Training and held-out evaluation share this function.

    Args:
        vae: The model.
        inputs: The batch and its noise.
        n_frames: Number of frames that the batch is drawn from.
        precision: Number format of the networks; the losses are float32 in any case.
        median_frame: (C, H, W) median in [0, 1]; needed only if moving_weight is above 1.
        moving_weight: Weight of moving pixels.
    """
    x, shown, noise, _ = inputs
    with precision.autocast(x.device):
        posterior = vae.encode(shown)
        z = posterior.mu if noise is None else vae.reparameterise(posterior, noise)  # (B, Z)
        logits = vae.decode_logits(z)
    weights = None
    if median_frame is not None and moving_weight > 1:
        weights = moving_weights(x, median_frame, moving_weight)  # (B, 1, H, W)
    distortion = vae.distortion(logits, x, weights)
    kl = kl_per_dimension(posterior.mu, posterior.logvar)
    loss_inputs = LossInputs(distortion, kl, posterior.mu, posterior.logvar, z, n_frames)
    return PassOutput(loss_inputs, logits)


class TrainStep:
    """One update of a VAE: batch and noise, forward pass, loss, gradient, Adam, discriminator.

    `update` makes an update at once. `rl_vae.training.cuda_graphs` captures the same parts.

    Args:
        state: State of the training; every update changes it.
        config: Settings of the training. batch_size counts the frames of all processes.
        n_frames: Number of training frames.
        median_frame: (C, H, W) median in [0, 1]; needed only if config.moving_weight is above 1.
        group: The processes that train together.
        targets: Targets of the heads for all frames of the dataset, on the device; needed only if
            there are heads.
    """

    def __init__(
        self,
        state: TrainState,
        config: TrainConfig,
        n_frames: int,
        median_frame: Tensor | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
        targets: HeadTargets | None = None,
    ) -> None:
        self.state, self.config, self.n_frames = state, config, n_frames
        self.median_frame, self.group, self.targets = median_frame, group, targets
        self.total_steps = config.total_steps(n_frames)
        self.precision = choose_precision(
            config.compute, state.vae.config.network_name, config.device
        )

    @property
    def heads(self) -> HeadEvaluation | None:
        """The heads in the form that is measured, if there are any."""
        if self.state.heads is None or self.targets is None:
            return None
        return HeadEvaluation(self.state.heads, self.targets, self.config.heads)

    def learning_rate(self, step: int) -> float:
        """Learning rate of an update: linear rise, constant, linear fall to 0 from the middle."""
        rise = (step + 1) / max(1.0, self.config.lr_warm_up * self.total_steps)
        return self.config.peak_learning_rate * min(1.0, rise, 2 * (1 - step / self.total_steps))

    def schedule(self, step: int) -> float:
        """The scheduled number of the objective, such as beta during its warm-up."""
        return self.config.objective.schedule(step / self.total_steps)

    def update(self, frames: Tensor, indices: Tensor | None = None) -> Update:
        """Make one update, or skip it if loss or gradient is not finite.

        Args:
            frames: (B, H, W, C) uint8 frames of this process, on the device.
            indices: (B,) int64 indices of the frames in the dataset, on the device; needed only if
                there are heads.
        """
        state = self.state
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate(state.step)
        loss, z = self.loss(self.draw_inputs(frames, indices), self.schedule(state.step))
        norm = self.backward(loss)
        update = Update(float(loss.detach()), float(norm))
        if update.finite:
            state.optimizer.step()
            self.update_discriminator(z.detach())
        else:
            state.skipped += 1
        state.step += 1
        return update

    def draw_inputs(self, frames: Tensor, indices: Tensor | None = None) -> StepInputs:
        """Draw the noise of a batch (B, H, W, C) of uint8 frames with (B,) indices."""
        state, objective, group = self.state, self.config.objective, self.group
        x = FrameModel.to_input(frames)
        # All processes draw the noise of the whole batch, and each uses its own rows.
        shown = group.shard(objective.corrupt(group.repeat_for_all(x), state.noise))
        noise = None
        if not objective.deterministic:
            shape = group.size * len(x), state.vae.config.latent_dim
            noise = group.shard(torch.randn(shape, generator=state.noise, device=x.device))
        if self.targets is None:
            return StepInputs(x, shown, noise)
        assert indices is not None
        return StepInputs(x, shown, noise, self.targets.select(indices))

    def loss(self, inputs: StepInputs, weight: float | Tensor) -> tuple[Tensor, Tensor]:
        """Loss of the whole batch, a scalar, and the codes (B, Z) that were decoded.

        Args:
            inputs: The batch and its noise.
            weight: The scheduled number of the objective.
        """

        def forward() -> ForwardOutput:
            own = run_pass(
                self.state.vae,
                inputs,
                self.n_frames,
                precision=self.precision,
                median_frame=self.median_frame,
                moving_weight=self.config.moving_weight,
            ).loss_inputs
            if self.state.heads is None or inputs.targets is None:
                return ForwardOutput(own, None)
            predicted = self.state.heads(own.mu, inputs.targets.action)  # (B, 2)
            return ForwardOutput(own, head_losses(predicted, inputs.targets, self.config.heads))

        out, head_terms = self.group.gather(forward)
        loss = self.config.objective.terms(out, weight, self.state.discriminator).loss
        if head_terms is not None:
            loss = loss + head_terms.sum(1).mean()
        return loss, out.z

    def backward(self, loss: Tensor) -> Tensor:
        """Compute the gradients of the model's and heads' weights; return their norm, a scalar."""
        self.state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        weights = self.state.trained.parameters()
        return nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])

    def update_discriminator(self, z: Tensor) -> None:
        """Make one update of the discriminator, if there is one, with the codes (B, Z)."""
        discriminator, optimizer = self.state.discriminator, self.state.discriminator_optimizer
        if discriminator is None or optimizer is None:
            return
        loss = self.config.objective.discriminator_loss(discriminator, z, self.state.noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def check_skipped(updates: Sequence[Update], step: int) -> None:
    """Check that not all of the last `MAX_SKIPPED` updates up to `step` were skipped.

    Raises:
        TrainingError: if they were.
    """
    last = updates[-MAX_SKIPPED:]
    if len(last) == MAX_SKIPPED and not any(update.finite for update in last):
        raise not_finite(step, last[-1].loss)


def not_finite(step: int, loss: float) -> TrainingError:
    """The error of a training whose loss is not finite after update `step`."""
    return TrainingError(
        f"The loss is not finite in step {step}.",
        expected="a finite loss",
        got=repr(loss),
        remedy="train with a lower learning_rate; the last checkpoint is kept",
    )
