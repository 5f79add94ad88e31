"""Team: the processes that train one model together, each on its part of every batch.

`torchrun --nproc-per-node 2 -m rl_vae.cli train-vae ...` starts two. They meet over gloo, on one
machine or on several that share their folders. All go through the same batches, draw the same
noise for all frames of a batch, and take their own rows of both. What an objective is told of a
batch is gathered, so that each process has the loss of the whole batch, its statistics included,
and contributes what its own frames add to the gradient. Two processes with batches of 32 do what
one does with batches of 64, but for the order of sums.

Shape letters: N processes, B frames of one process, Z latents.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from rl_vae.errors import ConfigError
from rl_vae.objectives.base import LossInputs

Rows = TypeVar("Rows", Tensor, NDArray[Any])


class ProcessGroup:
    """The processes of one training, seen from one of them; most trainings have no other.

    Args:
        rank: Which one this is. The first, 0, writes and tells; the others do neither.
        size: How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size, self.is_main_process = rank, size, rank == 0
        self._shared: nn.Module | None = None

    def agree(self, run: object) -> None:
        """Check that all processes are about to train the same.

        Raises:
            ConfigError: where they are not.
        """
        if self.size > 1:
            runs: list[object] = [None] * self.size
            distributed.all_gather_object(runs, run)
            for rank, other in enumerate(runs):
                if other != runs[0]:
                    raise ConfigError(
                        "The processes of this training were given different things to do.",
                        expected=f"{runs[0]}, as process 0 was",
                        got=f"{other} in process {rank}",
                        remedy="give all the same dataset and settings",
                    )

    def share(self, vae: nn.Module) -> None:
        """Give this module the same weights in all processes; its gradients will be, too."""
        if self.size > 1:
            self._shared = nn.parallel.DistributedDataParallel(_Caller(vae))

    def shard(self, batch: Rows) -> Rows:
        """Of a batch's N B rows the B that are this process's; a remainder is nobody's."""
        rows = len(batch) // self.size
        return batch[self.rank * rows : (self.rank + 1) * rows]

    def repeat_for_all(self, own: Tensor) -> Tensor:
        """As many rows as the whole batch has, (N B, ...), of which `own` are these (B, ...)."""
        return own if self.size == 1 else own.repeat(self.size, *[1] * (own.ndim - 1))

    def gather(self, forward: Callable[[], LossInputs]) -> LossInputs:
        """The pass of the whole batch, where `forward` makes that of this process's rows.

        Only those carry a gradient; `share` adds the others' gradients to it.
        """
        if self._shared is None:
            return forward()
        own: LossInputs = self._shared(forward)
        columns = [own.distortion[:, None], own.kl, own.mu, own.logvar, own.z]
        row = torch.cat(columns, dim=1)  # (B, 1 + 4 Z)
        if row.requires_grad:  # DistributedDataParallel takes the mean where this asks for the sum
            row.register_hook(lambda gradient: self.size * gradient)
        rows = [torch.empty_like(row) for _ in range(self.size)]
        distributed.all_gather(rows, row.detach())
        rows[self.rank] = row
        together = torch.cat(rows)  # (N B, 1 + 4 Z)
        widths = [column.shape[1] for column in columns]
        distortion, kl, mu, logvar, z = together.split(widths, dim=1)
        return LossInputs(distortion.squeeze(1), kl, mu, logvar, z, own.frames)

    def device(self, name: str) -> torch.device:
        """Where this process trains: of several GPUs of its machine its own."""
        own = torch.device(name)
        if own.type == "cuda" and own.index is None and self.size > 1:
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        return own

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.size > 1:
            distributed.barrier()


ALONE = ProcessGroup()
"""A training in one process."""


class _Caller(nn.Module):
    """Calls what it is given: DistributedDataParallel watches what happens within a forward."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        # Not the module itself: its buffers, which never change, would be sent in every update.
        self.weights = nn.ParameterList(vae.parameters())

    def forward(self, function: Callable[[], LossInputs]) -> LossInputs:
        return function()


def init_process_group(device: str = "cpu") -> ProcessGroup:
    """The processes that torchrun started, or that torch.distributed knows of already; or just one.

    What they meet over stays for the next training: torch cannot open it twice. Tensors on GPUs go
    over NCCL, all others over gloo.

    Raises:
        RuntimeError: of torch's, where they cannot meet.
    """
    if started_by_torchrun() and not distributed.is_initialized():
        on_gpus = torch.device(device).type == "cuda"
        if on_gpus:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # NCCL asks for the current one
        distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    if distributed.is_available() and distributed.is_initialized():
        return ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    return ProcessGroup()


def started_by_torchrun() -> bool:
    """Whether this process is one of those that torchrun starts."""
    return distributed.is_available() and distributed.is_torchelastic_launched()


def is_main_process() -> bool:
    """Whether this process is the one to tell the user what came out."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"
