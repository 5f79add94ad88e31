"""ProcessGroup: several processes train one model, each with its part of every batch.

`torchrun --nproc-per-node 2 -m rl_vae.cli train-vae ...` starts two processes. They communicate
over gloo, on one machine or on several machines with shared folders. All processes draw the same
batches and the same noise for all frames of a batch; each uses its own rows of both. The inputs of
the objective are gathered, so that every process computes the loss of the whole batch, batch
statistics included, and its gradient with respect to its own frames; the gradients are summed. Two
processes with batches of 32 give the result of one process with batches of 64, except for rounding.

Shape letters: N processes, B frames of one process, Z latents.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from rl_vae.errors import ConfigError
from rl_vae.objectives.base import LossInputs

Rows = TypeVar("Rows", Tensor, NDArray[Any])


class ForwardOutput(NamedTuple):
    """What the loss reads of a forward pass."""

    loss_inputs: LossInputs
    """Inputs of the objective."""
    head_terms: Tensor | None
    """(B, heads) terms of the heads in nats, or None if there are no heads."""


class ProcessGroup:
    """The processes of one training. Most trainings have one process.

    Args:
        rank: Number of this process. Process 0, the main process, writes files and prints.
        size: N, the number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size, self.is_main_process = rank, size, rank == 0
        self._shared: nn.Module | None = None

    def check_agreement(self, run: object) -> None:
        """Check that all processes got the same settings.

        Args:
            run: Settings and inputs of this process.

        Raises:
            ConfigError: if they differ.
        """
        if self.size > 1:
            runs: list[object] = [None] * self.size
            distributed.all_gather_object(runs, run)
            for rank, other in enumerate(runs):
                if other != runs[0]:
                    raise ConfigError(
                        "The processes of this training have different settings.",
                        expected=f"{runs[0]}, the settings of process 0",
                        got=f"{other} in process {rank}",
                        remedy="start all processes with the same dataset and settings",
                    )

    def share_gradients(self, module: nn.Module) -> None:
        """Give a module the weights of process 0, and sum its gradients over the processes."""
        if self.size > 1:
            self._shared = nn.parallel.DistributedDataParallel(_Caller(module))

    def shard(self, batch: Rows) -> Rows:
        """The B rows of this process, of a batch of N B rows. A remainder is not used."""
        rows = len(batch) // self.size
        return batch[self.rank * rows : (self.rank + 1) * rows]

    def repeat_for_all(self, own: Tensor) -> Tensor:
        """Repeat the rows of this process N times, (B, ...) -> (N B, ...)."""
        return own if self.size == 1 else own.repeat(self.size, *[1] * (own.ndim - 1))

    def gather(self, forward: Callable[[], ForwardOutput]) -> ForwardOutput:
        """Gather the outputs of all processes to those of the whole batch.

        Only the rows of this process carry a gradient; `share_gradients` adds the others.

        Args:
            forward: Computes the forward pass of the rows of this process.
        """
        if self._shared is None:
            return forward()
        output: ForwardOutput = self._shared(forward)
        own, head_terms = output

        # Send all columns in one tensor
        columns = [own.distortion[:, None], own.kl, own.mu, own.logvar, own.z]
        columns.append(own.mu[:, :0] if head_terms is None else head_terms)
        row = torch.cat(columns, dim=1)  # (B, 1 + 4 Z + heads)
        if row.requires_grad:
            # DistributedDataParallel takes the mean of the gradients; this makes it their sum.
            row.register_hook(lambda gradient: self.size * gradient)
        rows = [torch.empty_like(row) for _ in range(self.size)]
        distributed.all_gather(rows, row.detach())
        rows[self.rank] = row

        # Split the rows of the whole batch again
        widths = [column.shape[1] for column in columns]
        distortion, kl, mu, logvar, z, terms = torch.cat(rows).split(widths, dim=1)
        gathered = LossInputs(distortion.squeeze(1), kl, mu, logvar, z, own.frames)
        return ForwardOutput(gathered, None if head_terms is None else terms)

    def device(self, name: str) -> torch.device:
        """The device of this process: its own GPU, if "cuda" names none and there are several."""
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and self.size > 1:
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        return device

    def wait(self) -> None:
        """Wait until all processes have called this function."""
        if self.size > 1:
            distributed.barrier()


SINGLE_PROCESS = ProcessGroup()
"""The group of a training in one process."""


class _Caller(nn.Module):
    """Calls a function inside `forward`, where DistributedDataParallel registers gradients."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        # The weights alone: constant buffers of the module would be sent in every update.
        self.weights = nn.ParameterList(module.parameters())

    def forward(self, function: Callable[[], ForwardOutput]) -> ForwardOutput:
        return function()


def init_process_group(device: str = "cpu") -> ProcessGroup:
    """Join the processes that torchrun started; without torchrun a group of one process.

    The connection stays open for the next training: torch cannot open it twice. Tensors on GPUs
    are sent over NCCL, others over gloo.

    Args:
        device: Device of the training.

    Raises:
        RuntimeError: if torch cannot connect the processes.
    """
    if started_by_torchrun() and not distributed.is_initialized():
        on_gpus = torch.device(device).type == "cuda"
        if on_gpus:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # NCCL uses the current device
        distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    if distributed.is_available() and distributed.is_initialized():
        return ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    return ProcessGroup()


def started_by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return distributed.is_available() and distributed.is_torchelastic_launched()


def is_main_process() -> bool:
    """Whether this is the main process, which prints results."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"
