"""CUDA graphs: a GPU replays whole updates of one or several trainings.

An update consists of a few hundred small kernels, which a GPU finishes faster than Python can start
them. So a whole update is captured once and replayed: the batch is drawn from frames on the device,
then come noise, forward pass, backward pass, Adam and the discriminator. Tables on the device hold
what changes from update to update (rows of the batch, learning rate, the objective's scheduled
number), and for all frames what the heads predict; a counter on the device selects the row. Losses
are written to another table. Within one table nothing waits for the GPU.

The device itself skips an update whose loss or gradient is not finite: the fused kernel of Adam
reads a flag. Several trainings are captured side by side, one stream each, so that the kernels of
one fill the gaps of the others.

On a CPU the same updates run without a graph; the tests use this.

Shape letters: T updates of a table, B batch, C H W frame, N frames on the device.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from types import MethodType

import numpy as np
import torch
from torch import Tensor

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import TrainingError
from rl_vae.training.batches import BatchReader
from rl_vae.training.config import TrainConfig
from rl_vae.training.distributed import ProcessGroup
from rl_vae.training.step import StepInputs, TrainStep, Update

TABLE_LENGTH = 64
"""T, the largest number of updates between two reads of losses: milliseconds to 0.1 seconds."""

WARM_UPS = 3
"""Number of skipped updates before a capture: libraries choose kernels and allocate memory."""

MAX_COMPILED = 1024
"""Largest number of different networks, objectives or batches that one process compiles."""


class GraphedStep:
    """An update that a CUDA graph can capture: a `TrainStep` with its inputs in tables.

    Args:
        step: The update.
        batch_size: B.
        frames: (N, H, W, C) uint8 frames of the whole dataset on the device. None: the frames of
            each table are copied to the device with it.
    """

    def __init__(self, step: TrainStep, batch_size: int, frames: Tensor | None = None) -> None:
        self.step, self.state = step, step.state
        self.left = 0
        """Number of updates of the table whose results were not taken yet."""
        self._taken = 0
        self._has_all_frames = frames is not None
        device = self.state.vae.device
        if frames is None:
            shape = (TABLE_LENGTH * batch_size, *self.state.vae.shape)
            frames = torch.empty(shape, dtype=torch.uint8, device=device)
        self._frames = frames

        # Tables, and the number of the next update in them
        # Rows of the batch in the frames, and in the dataset
        table = torch.zeros(2, TABLE_LENGTH, batch_size, dtype=torch.int64, device=device)
        self._rows, self._indices = table
        numbers = torch.zeros(4, TABLE_LENGTH, device=device)
        self._rates, self._weights, self._losses, self._norms = numbers  # (T,) each
        self._next = torch.zeros(1, dtype=torch.int64, device=device)

        # Scalars that the optimizers read on the device
        self._rate = torch.zeros((), device=device)
        self._skip_all = torch.zeros((), device=device)  # 1: skip all updates
        self._skip = torch.zeros((), device=device)  # 1: skip this update
        for group in self.state.optimizer.param_groups:
            group["lr"] = self._rate
        for optimizer in (self.state.optimizer, self.state.discriminator_optimizer):
            if optimizer is not None:
                optimizer.found_inf = self._skip  # type: ignore[attr-defined]
        self._loss: Callable[[StepInputs, Tensor], tuple[Tensor, Tensor]] = step.loss
        if step.precision.compiled:
            self._loss = MethodType(_compiled_loss(), step)

    def load(self, reader: BatchReader, most: int) -> None:
        """Copy the inputs of the next updates to the device. No update may be left.

        Args:
            reader: The batches.
            most: Largest number of updates.
        """
        assert not self.left
        n = min(most, TABLE_LENGTH)

        # Read the batches
        indices, frames = [], []
        for _ in range(n):
            indices.append(reader.next_indices())
            if not self._has_all_frames:
                frames.append(torch.from_numpy(reader.read(indices[-1])))
        rows = np.stack(indices)  # (n, B)
        self._indices[:n].copy_(torch.from_numpy(rows))
        if frames:
            batches = torch.cat(frames)  # (n B, H, W, C)
            if self._frames.is_cuda:
                batches = batches.pin_memory()
            self._frames[: len(batches)].copy_(batches, non_blocking=True)
            rows = np.arange(rows.size).reshape(rows.shape)

        # Fill the tables
        self._rows[:n].copy_(torch.from_numpy(rows))
        steps = range(self.state.step, self.state.step + n)
        self._rates[:n].copy_(torch.tensor([self.step.learning_rate(step) for step in steps]))
        self._weights[:n].copy_(torch.tensor([self.step.schedule(step) for step in steps]))
        self._next.zero_()
        self.left, self._taken = n, 0

    def launch(self) -> None:
        """Start one update on the device, without waiting for its end."""
        number = self._next
        # Read this update's row of the tables
        rows = self._rows.index_select(0, number)[0]  # (B,)
        self._rate.copy_(self._rates.index_select(0, number)[0])
        weight = self._weights.index_select(0, number)[0]

        # Make the update
        frames, indices = self._frames.index_select(0, rows), None
        if self.step.targets is not None:
            indices = self._indices.index_select(0, number)[0]  # (B,)
        inputs = self.step.draw_inputs(frames, indices)
        loss, z = self._loss(inputs, weight)
        norm = self.step.backward(loss)
        total = loss.detach() + norm
        # x - x is 0 for a finite x, and NaN otherwise
        torch.ne(total - total + self._skip_all, 0, out=self._skip)
        self.state.optimizer.step()
        self.step.update_discriminator(z.detach())

        # Write its results
        self._losses.index_copy_(0, number, loss.detach()[None])
        self._norms.index_copy_(0, number, norm[None])
        number.add_(1)

    def take(self, n: int) -> list[Update]:
        """Wait for the next `n` updates of the table, count them and return their results."""
        part = slice(self._taken, self._taken + n)
        numbers = zip(self._losses[part].tolist(), self._norms[part].tolist(), strict=True)
        updates = [Update(*pair) for pair in numbers]
        self._taken, self.left = self._taken + n, self.left - n
        self.state.step += n
        self.state.skipped += sum(not update.finite for update in updates)
        return updates

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Inside this context updates are skipped; afterwards noise and table are as before."""
        noise, number = self.state.noise.get_state(), self._next.clone()
        self._skip_all.fill_(1)
        self._next.zero_()
        yield
        self._skip_all.fill_(0)
        self._next.copy_(number)
        self.state.noise.set_state(noise)


@cache
def _compiled_loss() -> Callable[[TrainStep, StepInputs, Tensor], tuple[Tensor, Tensor]]:
    """`TrainStep.loss` compiled by inductor, once for all trainings of the same kind."""
    return torch.compile(TrainStep.loss, dynamic=False)


class GraphRunner:
    """Runs the updates of several trainings side by side, on a GPU as one CUDA graph.

    The graph is captured by the first run, and again if the trainings are not the same.
    """

    def __init__(self) -> None:
        self._steps: tuple[GraphedStep, ...] = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._streams: list[torch.cuda.Stream] = []

    def run(self, steps: Sequence[GraphedStep], n_updates: int) -> None:
        """Start the same number of updates of each training.

        Args:
            steps: The trainings, all on one device.
            n_updates: Number of updates, at most `GraphedStep.left` of each.

        Raises:
            TrainingError: if the device has too little memory.
        """
        assert n_updates <= min(step.left for step in steps)
        device = steps[0].state.vae.device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            if self._steps != tuple(steps):
                with enough_memory():
                    self.prepare(steps)
            for _ in range(n_updates):
                if self._graph is None:
                    self._launch_all()
                else:
                    self._graph.replay()

    def prepare(self, steps: Sequence[GraphedStep]) -> None:
        """Warm up, and on a GPU capture one update of each training."""
        self._graph = None  # frees its memory for the next graph
        self._steps = tuple(steps)
        on_gpu = steps[0].state.vae.device.type == "cuda"
        self._streams = [torch.cuda.Stream() for _ in steps] if on_gpu else []
        self._warm_up()
        if on_gpu:
            self._graph = self._capture()

    def _launch_all(self) -> None:
        """Start one update of each training, on a GPU in its own stream."""
        if not self._streams:
            for step in self._steps:
                step.launch()
            return
        main = torch.cuda.current_stream()
        for step, stream in zip(self._steps, self._streams, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                step.launch()
        for stream in self._streams:
            main.wait_stream(stream)

    def _warm_up(self) -> None:
        """Run skipped updates, which allocate memory and compile, and change nothing else."""
        with ExitStack() as stack:
            for step in self._steps:
                stack.enter_context(step.rehearsal())
            # dynamo stops after 8 kinds by default; trainings of one kind share a compilation.
            limits = torch._dynamo.config.patch(
                recompile_limit=MAX_COMPILED, accumulated_recompile_limit=MAX_COMPILED
            )
            stack.enter_context(limits)
            stack.enter_context(warnings.catch_warnings())
            # Objectives compute in float32 on purpose.
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
            for _ in range(WARM_UPS):
                self._launch_all()

    def _capture(self) -> torch.cuda.CUDAGraph:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        for step in self._steps:
            graph.register_generator_state(step.state.noise)
        with torch.cuda.graph(graph):
            self._launch_all()
        return graph


def replays_updates(config: TrainConfig, group: ProcessGroup) -> bool:
    """Whether whole updates are captured on a GPU. Several processes gather within an update."""
    on_gpu = torch.device(config.device).type == "cuda"
    return on_gpu and config.compute == "fast" and group.size == 1


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turn an out-of-memory error of a device into an error for the user.

    Raises:
        TrainingError: if the device has too little memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "The device has too little memory.",
            expected="room for the frames, and for a batch of every model at once",
            got=". ".join(str(error).split(". ")[:2]),
            remedy="choose a smaller batch_size, fewer models at once, or a smaller memory, so "
            "that frames are streamed; checkpoints are kept",
        ) from error


def copy_to_device(dataset: FrameDataset, device: torch.device) -> Tensor:
    """Copy all frames of a dataset to a device, part by part.

    Returns:
        (N, H, W, C) uint8.
    """
    frames = torch.empty((len(dataset), *dataset.spec.shape), dtype=torch.uint8, device=device)
    for start in range(0, len(dataset), 4096):
        part = np.arange(start, min(start + 4096, len(dataset)))
        frames[start : start + 4096].copy_(torch.from_numpy(dataset.frames(part)))
    return frames
