"""TrainState: everything of a training that changes from update to update."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rl_vae.data.dataset import FrameDataset
from rl_vae.models.config import VAEConfig
from rl_vae.models.folder import ModelFolder
from rl_vae.models.save import export_own_network
from rl_vae.models.state_dict import check_moments, check_same_state
from rl_vae.models.vae import VAE
from rl_vae.objectives.discriminator import DISCRIMINATOR_BETAS
from rl_vae.training.config import TrainConfig
from rl_vae.training.distributed import SINGLE_PROCESS, ProcessGroup
from rl_vae.training.head_network import HeadNetwork
from rl_vae.training.head_targets import HeadTargets
from rl_vae.training.precision import choose_precision

CENTRE_FRAMES = 2000
"""Largest number of training frames that the mean frame of a VAE is computed from."""

_NUMBERS = ("step", "seconds", "best", "skipped", "best_sha256")


@dataclass
class TrainState:
    """Everything that a resumed training needs, and nothing else."""

    vae: VAE
    """The model."""
    optimizer: torch.optim.Adam
    """Optimizer of the model and of the heads."""
    noise: torch.Generator
    """Generator of all noise that updates draw."""
    discriminator: nn.Module | None = None
    """Discriminator of the objective, if the objective has one."""
    discriminator_optimizer: torch.optim.Adam | None = None
    """Optimizer of the discriminator."""
    heads: HeadNetwork | None = None
    """Network of the heads, if there are any."""
    step: int = 0
    """Number of finished updates."""
    seconds: float = 0.0
    """Training time, without interruptions."""
    best: float = math.inf
    """Lowest held-out loss, of the weights in best.safetensors."""
    skipped: int = 0
    """Number of updates that were skipped because loss or gradient was not finite."""
    best_sha256: str = ""
    """SHA-256 of best.safetensors."""

    @property
    def trained(self) -> nn.Module:
        """What one loss trains: the model, and the heads if there are any."""
        return self.vae if self.heads is None else nn.ModuleList([self.vae, self.heads])

    def to_dict(self) -> dict[str, Any]:
        """The state as `rl_vae.models.state_dict.pack_state` takes it."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        parts = {name: part.state_dict() for name, part in self._parts()}
        return {**parts, **numbers, "noise": self.noise.get_state()}

    def load(self, saved: dict[str, Any]) -> None:
        """Load the result of `to_dict`.

        Raises:
            ValueError: if it belongs to another training.
        """
        try:
            check_same_state("the state", saved, self.to_dict())
            if not (saved["step"] >= 0 and saved["skipped"] >= 0 and saved["seconds"] >= 0):
                raise ValueError("a number below 0")
            for name, part in self._parts():
                part.load_state_dict(saved[name])
                if isinstance(part, torch.optim.Adam):
                    check_moments(part)
            self.noise.set_state(saved["noise"])
        except (AttributeError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(str(error)) from error
        for name in _NUMBERS:
            setattr(self, name, saved[name])

    def _parts(self) -> list[tuple[str, Any]]:
        names = ("vae", "optimizer", "discriminator", "discriminator_optimizer", "heads")
        return [(name, getattr(self, name)) for name in names if getattr(self, name) is not None]


def initial_state(
    vae_config: VAEConfig,
    config: TrainConfig,
    dataset: FrameDataset,
    train: NDArray[np.int64],
    parent: ModelFolder | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
    targets: HeadTargets | None = None,
) -> TrainState:
    """Make the state before the first update.

    Args:
        vae_config: The model.
        config: Settings of the training.
        dataset: The frames.
        train: (N,) indices of the training frames.
        parent: Model whose weights the training starts from. None: random weights.
        group: The processes that train together.
        targets: Targets of the heads; needed only if `config` has heads.
    """
    objective, device = config.objective, group.device(config.device)
    # Draw the weights
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        vae = VAE(vae_config, dataset.spec.shape)
        discriminator = objective.build_discriminator(vae_config.latent_dim)
        heads = None
        if targets is not None:
            heads = HeadNetwork(vae_config.latent_dim, targets.action.shape[1])
        if vae_config.has_own_network:
            export_own_network(vae)  # refuse a network without an ONNX form before the training
    if parent is not None:
        vae.load_state_dict(parent.weights)
    else:
        n = min(len(train), CENTRE_FRAMES)
        vae.centre(dataset.frames(train[np.linspace(0, len(train) - 1, n).astype(np.int64)]))
    if objective.deterministic:
        vae.fix_variance()

    # Move them to the device, in the form that is trained there
    choose_precision(config.compute, vae_config.network_name, config.device).prepare(vae)
    noise = torch.Generator(device).manual_seed(config.seed)
    state = TrainState(vae.to(device), _adam(vae, config), noise, discriminator)
    if heads is not None:
        state.heads = heads.to(device)
        state.optimizer = _adam(state.trained, config)
    if discriminator is not None:
        state.discriminator_optimizer = _adam(
            discriminator.to(device), config, betas=DISCRIMINATOR_BETAS
        )
    return state


def _adam(module: nn.Module, config: TrainConfig, **more: Any) -> torch.optim.Adam:
    """Adam for the weights of a module; on a GPU a CUDA graph can capture its steps."""
    on_gpu = next(module.parameters()).is_cuda
    return torch.optim.Adam(
        module.parameters(), lr=config.peak_learning_rate, fused=True, capturable=on_gpu, **more
    )
