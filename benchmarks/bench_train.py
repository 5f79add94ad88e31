"""Benchmark: training speed against a typical hand-written loop and against Pythae's trainer.

The hand-written loop has a torch DataLoader over the same frames in memory, which converts each
frame to float, an eager model in float32, Adam, and loss.item() in each update. Pythae 0.1.2 uses
its own trainer with the same network, on float images in memory; it is skipped if it is not
installed (pip install pythae). All use the same frames and batch size and the loss of rl_vae.Beta;
Pythae has its own squared error. Images/s count updates only, in rounds one after the other. The
time to a loss excludes the measurement of held-out frames.

speedup_same_network   images/s of rl_vae / hand-written loop, Burgess' network (median of the
                       rounds' ratios)
speedup_default        the same with the default network on both sides
speedup_pythae         the same against Pythae's trainer, Burgess' network
speedup_to_loss        time until the hand-written loop with World Models' network reaches a
                       held-out loss / time of rl_vae with the default network. Each has the best
                       learning rate of --rates. The loss is the last one of the loop's best run.

With --device cuda, the hand-written loop has the same network and batches, a DataLoader with
--workers processes that pins memory, and loss.item(); rl_vae replays captured updates
(rl_vae.training.cuda_graphs). The limit is the time for the arithmetic or the memory traffic of an
update, whichever is longer, at the rates of a large bfloat16 product and of a large copy. Traffic
counts every activation five times in bfloat16: written and read forward, read backward, its
gradient written and read.

speedup_batch_128      images/s of rl_vae / hand-written loop, Burgess' network, batch size 128
speedup_batch_2048     the same, batch size 2,048
share_of_limit         limit / time of an update of rl_vae, batch size 2,048
sweep_ratio            eight betas at once, batch size 128 / the same one after the other
sweep_peer_ratio       eight betas at once / one model in the hand-written loop
"""

import argparse
import contextlib
import io
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from driving import driving_frames  # type: ignore[import-not-found]
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from rl_vae import Beta, FrameDataset, TrainConfig, VAEConfig
from rl_vae.models.vae import VAE
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures
from rl_vae.training.batches import BatchReader
from rl_vae.training.cuda_graphs import TABLE_LENGTH, GraphedStep, GraphRunner, copy_to_device
from rl_vae.training.evaluate import evaluate_vae
from rl_vae.training.state import initial_state
from rl_vae.training.step import TrainStep

BATCH = 64
CPU = torch.device("cpu")
OBJECTIVE = Beta(1.0, warm_up=0.0)
Update = Callable[[], object]


class Images(Dataset[torch.Tensor]):
    """Frames in memory; each comes out as a float image (C, H, W) in [0, 1], as ToTensor gives."""

    def __init__(self, frames: Any) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> torch.Tensor:
        frame = torch.from_numpy(self.frames[index])
        return frame.permute(2, 0, 1).contiguous().float().div(255)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=4000, help="of CarRacing (default 4000)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a dataset, instead of them")
    parser.add_argument("--rounds", type=int, default=5, help="of images/s (default 5)")
    parser.add_argument("--updates", type=int, default=12, help="in a round (default 12)")
    parser.add_argument("--steps", type=int, default=400, help="of the peer loop to its loss")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3], help="learning rates")
    parser.add_argument("--workers", type=int, default=0, help="of the peer's DataLoader")
    parser.add_argument("--device", default="cpu", help='or "cuda"')
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    configure_process()
    with TemporaryDirectory() as folder:
        dataset = driving_frames(
            arguments.data, Path(folder) / "frames", arguments.frames, seed=arguments.seed
        )
        if arguments.device == "cpu":
            print(f"{torch.get_num_threads()} threads, batches of {BATCH}")
            figures = images_per_second(dataset, arguments)
            figures |= to_loss(dataset, arguments)
        else:
            figures = on_gpu(dataset, arguments)
    for name, value in figures.items():
        print(f"{name} {value:.3g}")
    if arguments.json:
        write_figures(arguments.json, figures, [arguments.seed])


def images_per_second(dataset: FrameDataset, arguments: argparse.Namespace) -> dict[str, float]:
    """Rounds of updates of every way, one way after the other within a round."""
    ways: dict[str, Callable[[int], float]] = {}
    networks: tuple[str, ...] = ("burgess", "patch")
    for network in networks:
        ways[f"ours {network}"] = clocked(ours(dataset, network, 100_000, 1e-3, arguments.seed)[1])
        ways[f"peer {network}"] = clocked(peer(dataset, network, 1e-3, arguments)[1])
    pythae = pythae_way(dataset, arguments.seed)
    if pythae is not None:
        ways["pythae burgess"] = pythae
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(3)
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            rates[name].append(BATCH / way(arguments.updates))
    for name, values in rates.items():
        spread = f"{min(values):6,.0f} to {max(values):6,.0f}"
        print(f"{name:15s} {statistics.median(values):6,.0f} images/s ({spread})", flush=True)

    def ratio(over: str, under: str) -> float:
        pairs = zip(rates[over], rates[under], strict=True)
        return statistics.median(a / b for a, b in pairs)

    figures = {
        "speedup_same_network": ratio("ours burgess", "peer burgess"),
        "speedup_default": ratio("ours patch", "peer patch"),
    }
    if pythae is not None:
        figures["speedup_pythae"] = ratio("ours burgess", "pythae burgess")
    return figures


def clocked(update: Update) -> Callable[[int], float]:
    """Seconds of one update, the mean of some."""

    def way(updates: int) -> float:
        begin = time.perf_counter()
        for _ in range(updates):
            update()
        return (time.perf_counter() - begin) / updates

    return way


def ours(
    dataset: FrameDataset, network: str, steps: int, rate: float, seed: int
) -> tuple[VAE, Update]:
    """The updates of train_vae, without what it does between epochs."""
    config = TrainConfig(
        steps=steps, batch_size=BATCH, learning_rate=rate, objective=OBJECTIVE, seed=seed
    )
    split = dataset.split(config.held_out, config.seed)
    state = initial_state(VAEConfig(network=network), config, dataset, split.train)
    step = TrainStep(state, config, len(split.train))
    reader = BatchReader(dataset, split.train, config)
    return state.vae, lambda: step.update(torch.from_numpy(reader.read(reader.next_indices())))


def peer(
    dataset: FrameDataset,
    network: str,
    rate: float,
    arguments: argparse.Namespace,
    batch: int = BATCH,
    device: torch.device = CPU,
) -> tuple[VAE, Update]:
    """The updates of a loop that a user writes: eager, float32, channels first."""
    torch.manual_seed(arguments.seed)
    split = dataset.split(0.1, arguments.seed)
    vae = VAE(VAEConfig(network=network), dataset.spec.shape)
    vae.centre(dataset.frames(split.train[:: max(1, len(split.train) // 2000)]))
    loader = DataLoader(
        Images(dataset.frames(split.train)),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
        pin_memory=device.type == "cuda",
    )
    optimizer = torch.optim.Adam(vae.to(device).parameters(), lr=rate)

    def endless() -> Iterator[torch.Tensor]:
        while True:
            yield from loader

    batches = endless()

    def update() -> float:
        x = next(batches).to(device, non_blocking=True)
        posterior = vae.encode(x)
        distortion, kl = vae.losses(x, posterior, torch.randn_like(posterior.mu))
        loss = distortion.mean() + kl.sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return vae, update


def on_gpu(
    dataset: FrameDataset, arguments: argparse.Namespace, batches: tuple[int, int] = (128, 2048)
) -> dict[str, float]:
    """Captured updates against the peer loop's, batches of two sizes, and eight models at once."""
    device = torch.device(arguments.device)
    frames = copy_to_device(dataset, device)
    print(f"{device_name(device)}, {len(dataset):,} frames on it", flush=True)
    figures: dict[str, float] = {}

    def timed(way: Callable[[int], float]) -> float:
        way(3)
        return statistics.median(way(arguments.updates) for _ in range(arguments.rounds))

    for batch in batches:
        update = peer(dataset, "burgess", 1e-3, arguments, batch, device)[1]
        theirs = timed(synchronised(update, device))
        ours = timed(captured([member_of(dataset, frames, batch, 1.0, arguments)]))
        print(f"batch {batch}: peer {batch / theirs:,.0f}, ours {batch / ours:,.0f} images/s")
        figures[f"speedup_batch_{batch}"] = theirs / ours
        if batch == batches[0]:
            one_of_theirs = theirs
    figures["share_of_limit"] = limit(dataset, batches[1], device) / ours
    betas = [0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0]
    members = [member_of(dataset, frames, batches[0], beta, arguments) for beta in betas]
    one_by_one = [timed(captured([member])) for member in members]
    together = timed(captured(members))
    print(f"eight: {8 * batches[0] / together:,.0f} model-images/s, in sequence ", end="")
    print(f"{8 * batches[0] / sum(one_by_one):,.0f}", flush=True)
    figures["sweep_ratio"] = together / sum(one_by_one)
    figures["sweep_peer_ratio"] = together / one_of_theirs
    return figures


def member_of(
    dataset: FrameDataset,
    frames: torch.Tensor,
    batch: int,
    beta: float,
    arguments: argparse.Namespace,
) -> tuple[GraphedStep, BatchReader]:
    """A training of Burgess' network whose updates are captured, and its batches."""
    config = TrainConfig(
        objective=Beta(beta, warm_up=0.0),
        steps=100_000,
        batch_size=batch,
        device=arguments.device,
        seed=arguments.seed,
    )
    split = dataset.split(config.held_out, config.seed)
    state = initial_state(VAEConfig(network="burgess"), config, dataset, split.train)
    step = TrainStep(state, config, len(split.train))
    return GraphedStep(step, batch, frames), BatchReader(dataset, split.train, config)


def captured(trainings: list[tuple[GraphedStep, BatchReader]]) -> Callable[[int], float]:
    """Seconds of one update of all, drawing and loading tables included."""
    runner, steps = GraphRunner(), [step for step, _ in trainings]

    def way(updates: int) -> float:
        begin, done = time.perf_counter(), 0
        while done < updates:
            for step, reader in trainings:
                if not step.left:
                    step.load(reader, TABLE_LENGTH)
            n = min(step.left for step in steps)
            runner.run(steps, n)
            for step in steps:
                step.take(n)
            done += n
        return (time.perf_counter() - begin) / done

    return way


def synchronised(update: Update, device: torch.device) -> Callable[[int], float]:
    """Seconds of one update, the mean of some, all finished."""
    way = clocked(update)

    def loop(updates: int) -> float:
        begin = time.perf_counter()
        way(updates)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - begin) / updates

    return loop


def limit(dataset: FrameDataset, batch: int, device: torch.device) -> float:
    """Seconds that an update cannot go below, by this device's own measured rates."""
    vae = VAE(VAEConfig(network="burgess"), dataset.spec.shape)
    values = 0

    def count(module: torch.nn.Module, before: Any, out: torch.Tensor) -> None:
        nonlocal values
        values += out.numel()

    for layer in vae.modules():
        if not list(layer.children()):
            layer.register_forward_hook(count)
    x = torch.rand(8, dataset.spec.shape[2], *dataset.spec.shape[:2])
    with FlopCounterMode(display=False) as counter:
        posterior = vae.encode(x)
        lost, kl = vae.losses(x, posterior, torch.randn_like(posterior.mu))
        (lost.mean() + kl.sum(1).mean()).backward()
    operations = float(counter.get_total_flops()) * batch / 8
    traffic = 5 * 2 * values * batch / 8
    side = 8192 if device.type == "cuda" else 512
    factor = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    block = torch.randn(side, side, 4, device=device)
    product = timed_once(lambda: factor @ factor, device)
    copy = timed_once(block.clone, device)
    return max(operations * product / (2 * side**3), traffic * copy / (2 * 4 * block.numel()))


def timed_once(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of something on a device, the mean of ten after three."""
    for _ in range(3):
        work()
    return synchronised(work, device)(10)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def pythae_way(dataset: FrameDataset, seed: int) -> Callable[[int], float] | None:
    """Pythae's trainer with Burgess' network; None if Pythae is not installed."""
    try:
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE as PythaeVAE
        from pythae.models import VAEConfig as PythaeConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
    except ImportError as error:
        print(f"without Pythae, which cannot be imported ({error})")
        return None
    torch.manual_seed(seed)
    vae = VAE(VAEConfig(network="burgess"), dataset.spec.shape)

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = vae.encoder

        def forward(self, x: torch.Tensor) -> Any:
            mu, logvar = self.network(x).chunk(2, dim=1)
            return ModelOutput(embedding=mu, log_covariance=logvar)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = vae.decoder

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))

    height, width, channels = dataset.spec.shape
    config = PythaeConfig(input_dim=(channels, height, width), latent_dim=vae.config.latent_dim)
    model = PythaeVAE(config, encoder=Encoder(), decoder=Decoder())
    frames = torch.from_numpy(dataset.frames(dataset.split(0.1, seed).train))
    logging.getLogger("pythae").setLevel(logging.ERROR)

    def way(updates: int) -> float:
        inputs = VAE.to_input(frames[: updates * BATCH]).contiguous()
        with TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            settings = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=1e-3,
                no_cuda=True,
                seed=seed,
            )
            data = BaseDataset(inputs, torch.zeros(len(inputs)))
            trainer = BaseTrainer(model, data, training_config=settings)
            trainer.prepare_training()
            begin = time.perf_counter()
            trainer.train_step(1)
            return (time.perf_counter() - begin) / (len(inputs) / BATCH)

    return way


def to_loss(dataset: FrameDataset, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds until the held-out loss that the peer's best run ends with, theirs and ours."""
    seed, steps = arguments.seed, arguments.steps
    split = dataset.split(0.1, seed)
    indices = split.held_out[:: max(1, len(split.held_out) // 256)]

    def measure(vae: VAE) -> float:
        return evaluate_vae(vae, dataset, indices, OBJECTIVE, BATCH).loss

    def curve(vae: VAE, update: Update, updates: int, every: int) -> list[tuple[float, float]]:
        points, seconds = [], 0.0
        for _ in range(updates // every):
            begin = time.perf_counter()
            for _ in range(every):
                update()
            seconds += time.perf_counter() - begin
            points.append((seconds, measure(vae)))
        return points

    theirs = [
        curve(*peer(dataset, "world_models", rate, arguments), steps, steps // 20)
        for rate in arguments.rates
    ]
    goal = min(points[-1][1] for points in theirs)
    took_theirs = min(reached(points, goal) for points in theirs)
    best = float("inf")
    for rate in arguments.rates:
        points = curve(*ours(dataset, "patch", steps, rate, seed), steps, steps // 40)
        best = min(best, reached(points, goal))
    print(
        f"held-out loss {goal:.0f}: peer loop, World Models' network {took_theirs:.1f} s, ours "
        f"{best:.1f} s",
        flush=True,
    )
    return {"speedup_to_loss": took_theirs / best, "seconds_peer": took_theirs, "seconds": best}


def reached(points: list[tuple[float, float]], goal: float) -> float:
    """Seconds at the first point that is at least as good; infinite if there is none."""
    return next((seconds for seconds, loss in points if loss <= goal), float("inf"))


if __name__ == "__main__":
    main()
