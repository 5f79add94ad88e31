"""Captured: whole updates of one or several trainings as one CUDA graph.

An update is a few hundred small kernels, which a GPU finishes sooner than Python can ask for them.
So everything in it is asked for once and replayed: the draw of the batch from frames that lie on
the device, noise, forward, backward, Adam, the discriminator. What moves from update to update
(rows of the batch, learning rate, the objective's weight) is a table on the device, in which the
graph counts on; losses go into another. Nothing waits for the GPU within a table's length.

An update whose loss or gradient is not finite is left out on the device itself: Adam's fused kernel
takes a flag for it. Several trainings are captured side by side, a stream each, so that the kernels
of one fill the gaps of the others.

On a CPU the same updates run as they stand, without a graph: so they are tested.

Shape letters: T updates of a table, B batch, C H W frame, N frames on the device.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import islice
from types import MethodType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.streaming import Source
from rl_vae.errors import TrainingError
from rl_vae.training.checkpoint import State
from rl_vae.training.step import (
    StepInputs,
    StepSettings,
    Update,
    backward,
    draw_inputs,
    run_pass,
    update_discriminator,
)

AHEAD = 64
"""T, the most updates between two looks at the GPU: milliseconds to tenths of a second."""

WARM_UPS = 3
"""Updates before a capture, all left out: libraries choose and allocate in the first ones."""

KINDS = 1024
"""So many kinds of training, in network, objective or batch, are compiled in one process."""


class GraphedTraining:
    """A training whose updates are captured: its state, and the tables that an update reads.

    Args:
        state: What is trained, on its device.
        plan: How.
        batch_size: B.
        frames: (N, H, W, C) uint8 on the device: all of them, which batches are drawn from. None:
            a table's own frames are brought there with it.
    """

    def __init__(
        self, state: State, plan: StepSettings, batch_size: int, frames: Tensor | None = None
    ) -> None:
        self.state, self.plan, self.batch_size = state, plan, batch_size
        self.left, self._done = 0, 0
        self._whole = frames is not None
        device = state.vae.device
        if frames is None:
            shape = (AHEAD * batch_size, *state.vae.shape)
            frames = torch.empty(shape, dtype=torch.uint8, device=device)
        self._frames = frames
        self._rows = torch.zeros(AHEAD, batch_size, dtype=torch.int64, device=device)  # (T, B)
        self._rates, self._weights, self._losses, self._norms = torch.zeros(4, AHEAD, device=device)
        self._turn = torch.zeros(1, dtype=torch.int64, device=device)
        self._held = torch.zeros((), device=device)  # 1 where all updates are to be left out
        self._rate = torch.zeros((), device=device)
        self._left_out = torch.zeros((), device=device)  # 1 or 0, as Adam wants it
        for group in state.optimizer.param_groups:
            group["lr"] = self._rate
        for optimizer in (state.optimizer, state.discriminator_optimizer):
            if optimizer is not None:
                optimizer.found_inf = self._left_out  # type: ignore[attr-defined]
        self._loss = self._loss_of
        if plan.precision.compiled:
            self._loss = MethodType(_compiled(), self)

    def load(self, batches: Iterator[NDArray[np.int64]], most: int, source: Source) -> None:
        """Bring the table of the next updates, `most` at most, to the device; none may be left."""
        assert not self.left
        drawn, read = [], []
        for indices in islice(batches, min(most, AHEAD)):
            drawn.append(indices)
            if not self._whole:
                read.append(torch.from_numpy(source.frames(indices)))
        rows = np.stack(drawn)  # (n, B)
        if read:
            frames = torch.cat(read)  # (n B, H, W, C)
            if self._frames.is_cuda:
                frames = frames.pin_memory()
            self._frames[: len(frames)].copy_(frames, non_blocking=True)
            rows = np.arange(rows.size).reshape(rows.shape)
        n = len(rows)
        self._rows[:n].copy_(torch.from_numpy(rows))
        steps = range(self.state.step, self.state.step + n)
        for table, values in ((self._rates, self.plan.rate), (self._weights, self.plan.schedule)):
            table[:n].copy_(torch.tensor([values(step) for step in steps]))
        self._turn.zero_()
        self.left, self._done = n, 0

    def update(self) -> None:
        """Ask the device for one update; waits for nothing."""
        state, turn = self.state, self._turn
        rows = self._rows.index_select(0, turn)[0]  # (B,)
        self._rate.copy_(self._rates.index_select(0, turn)[0])
        weight = self._weights.index_select(0, turn)[0]
        inputs = draw_inputs(state, self._frames.index_select(0, rows), self.plan)
        loss, z = self._loss(inputs, weight)
        norm = backward(state, loss)
        said = loss.detach() + norm
        torch.ne(said - said + self._held, 0, out=self._left_out)  # inf - inf is no number, either
        state.optimizer.step()
        update_discriminator(state, z.detach(), self.plan.objective)
        self._losses.index_copy_(0, turn, loss.detach()[None])
        self._norms.index_copy_(0, turn, norm[None])
        turn.add_(1)

    def hold(self, held: bool) -> None:
        """Leave all updates out from now on, or none."""
        self._held.fill_(held)

    def take(self, n: int) -> list[Update]:
        """What the next `n` updates of the table gave; waits for them, counts them."""
        told = slice(self._done, self._done + n)
        pairs = zip(self._losses[told].tolist(), self._norms[told].tolist(), strict=True)
        made = [Update(*pair) for pair in pairs]
        self._done, self.left = self._done + n, self.left - n
        self.state.step += n
        self.state.skipped += sum(not update.finite for update in made)
        return made

    def _loss_of(self, inputs: StepInputs, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the codes (B, Z) that were decoded."""
        out = run_pass(self.state.vae, inputs, self.plan)
        return self.plan.objective.terms(out, weight, self.state.discriminator).loss, out.z


@cache
def _compiled() -> Callable[[GraphedTraining, StepInputs, Tensor], tuple[Tensor, Tensor]]:
    """`GraphedTraining._loss_of` by inductor: one for all, so that trainings of one kind share it."""
    return torch.compile(GraphedTraining._loss_of, dynamic=False)


class GraphRunner:
    """The updates of some trainings, one of each at a time.

    Args:
        members: The trainings, all on one device.
    """

    def __init__(self, members: Sequence[GraphedTraining]) -> None:
        self.members = tuple(members)
        self._graph: torch.cuda.CUDAGraph | None = None
        device = members[0].state.vae.device
        self._streams: list[torch.cuda.Stream] = []
        on_gpu = device.type == "cuda"
        self._there = torch.cuda.device(device) if on_gpu else nullcontext()
        with self._there:
            if on_gpu:
                self._streams = [torch.cuda.Stream() for _ in members]
            self._warm_up()
            if on_gpu:
                self._graph = self._capture()

    def run(self) -> list[list[Update]]:
        """As many updates of each as all have left in their tables; one or more."""
        n = min(member.left for member in self.members)
        with self._there:
            for _ in range(n):
                if self._graph is None:
                    self._side_by_side()
                else:
                    self._graph.replay()
            return [member.take(n) for member in self.members]

    def _side_by_side(self) -> None:
        if not self._streams:
            for member in self.members:
                member.update()
            return
        here = torch.cuda.current_stream()
        for member, stream in zip(self.members, self._streams, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                member.update()
        for stream in self._streams:
            here.wait_stream(stream)

    def _warm_up(self) -> None:
        """Let everything be allocated that is once, and change nothing."""
        noises = [member.state.noise for member in self.members]
        before = [noise.get_state() for noise in noises]
        tables = [member._turn.clone() for member in self.members]
        for member in self.members:
            member.hold(True)
            member._turn.zero_()
        # Trainings of one kind share what is compiled; by default dynamo gives up after 8 kinds.
        limits = torch._dynamo.config.patch(
            recompile_limit=KINDS, accumulated_recompile_limit=KINDS
        )
        with limits, warnings.catch_warnings():
            # An objective is float32 on purpose.
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
            for _ in range(WARM_UPS):
                self._side_by_side()
        for member, turn in zip(self.members, tables, strict=True):
            member.hold(False)
            member._turn.copy_(turn)
        for noise, state in zip(noises, before, strict=True):
            noise.set_state(state)

    def _capture(self) -> torch.cuda.CUDAGraph:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        for member in self.members:
            graph.register_generator_state(member.state.noise)
        with torch.cuda.graph(graph):
            self._side_by_side()
        return graph


@contextmanager
def enough_memory() -> Iterator[None]:
    """Raise TrainingError where the device has not enough of it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "The device has too little memory.",
            expected="room for the frames, and for a batch of every model at once",
            got=". ".join(str(error).split(". ")[:2]),
            remedy="a smaller batch_size, fewer models at once, or less memory for frames, which "
            "are then streamed; what was saved is kept",
        ) from error


def to_device(dataset: FrameDataset, device: torch.device) -> Tensor:
    """All frames of a dataset, (N, H, W, C) uint8, copied to a device part by part."""
    frames = torch.empty((len(dataset), *dataset.spec.shape), dtype=torch.uint8, device=device)
    for start in range(0, len(dataset), 4096):
        few = np.arange(start, min(start + 4096, len(dataset)))
        frames[start : start + 4096].copy_(torch.from_numpy(dataset.frames(few)))
    return frames
