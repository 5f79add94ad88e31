"""Training on the CPU: ours against the loop that a user writes and Pythae's trainer, in one run.

The peer loop is a torch DataLoader over the same frames in memory, which ToTensor-style makes each
one a float image, an eager model in float32, Adam, and loss.item() in each update. Pythae 0.1.2 is
its own trainer with the same network, on float images in memory; where it is not installed
(pip install pythae), it is left out, with a word. All use the same frames, batches of the same
size, and the loss of rl_vae.Beta, but for Pythae, which has its own squared error. Images/s count
updates only, in rounds one after the other; time to a loss is all but measuring held-out frames.

speedup_same_network   images/s of ours / the peer loop's, both with Burgess' network (median of
                       the rounds' ratios)
speedup_default        the same with our default network on both sides
speedup_pythae         the same against Pythae's trainer, Burgess' network
speedup_to_loss        time in which the peer loop with World Models' network comes to some held-out
                       loss / time in which ours does with the default network, the rate of
                       learning of each the best of --rates. The loss is what the peer's best run
                       ends with.
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
from torch.utils.data import DataLoader, Dataset

from rl_vae import (
    Beta,
    Correlated,
    FrameDataset,
    FrameSpec,
    TrainConfig,
    VAEConfig,
    collect_frames,
    training,
)
from rl_vae.arithmetic import choose_arithmetic
from rl_vae.diagnostics import evaluate_vae
from rl_vae.envs import quiet
from rl_vae.evaluation import write_figures
from rl_vae.networks import NetworkName
from rl_vae.vae import VAE

BATCH = 64
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    quiet()
    with TemporaryDirectory() as folder:
        dataset = (
            FrameDataset.open(arguments.data)
            if arguments.data
            else collect_frames(
                "CarRacing-v3",
                Path(folder) / "frames",
                n_frames=arguments.frames,
                spec=FrameSpec(crop=(0, 12, 0, 0)),
                policy=Correlated(bias=(0.0, -0.3, -1.2)),
                seed=arguments.seed,
            )
        )
        print(f"{torch.get_num_threads()} threads, batches of {BATCH}")
        figures = images_per_second(dataset, arguments)
        figures |= to_loss(dataset, arguments)
    for name, value in figures.items():
        print(f"{name} {value:.3g}")
    if arguments.json:
        write_figures(arguments.json, figures, [arguments.seed])


def images_per_second(dataset: FrameDataset, arguments: argparse.Namespace) -> dict[str, float]:
    """Rounds of updates of every way, one way after the other within a round."""
    ways: dict[str, Callable[[int], float]] = {}
    networks: tuple[NetworkName, ...] = ("burgess", "patch")
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
    dataset: FrameDataset, network: NetworkName, steps: int, rate: float, seed: int
) -> tuple[VAE, Update]:
    """The updates of train_vae, without what it does between epochs."""
    config = TrainConfig(
        steps=steps, batch_size=BATCH, learning_rate=rate, objective=OBJECTIVE, seed=seed
    )
    split = dataset.split(config.held_out, config.seed)
    state = training._fresh_state(VAEConfig(network=network), config, dataset, split, None)
    arithmetic = choose_arithmetic(config.engine)
    plan = training._Plan(config, split, steps, None, arithmetic)
    batches = training._batches(dataset, split.train, config, 0, steps, None)
    return state.vae, lambda: training._step(state, dataset, next(batches), plan)


def peer(
    dataset: FrameDataset, network: NetworkName, rate: float, arguments: argparse.Namespace
) -> tuple[VAE, Update]:
    """The updates of a loop that a user writes: eager, float32, channels first."""
    torch.manual_seed(arguments.seed)
    split = dataset.split(0.1, arguments.seed)
    vae = VAE(VAEConfig(network=network), dataset.spec.shape)
    vae.centre(dataset.frames(split.train[:: max(1, len(split.train) // 2000)]))
    loader = DataLoader(
        Images(dataset.frames(split.train)),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=arguments.workers,
    )
    optimizer = torch.optim.Adam(vae.parameters(), lr=rate)

    def endless() -> Iterator[torch.Tensor]:
        while True:
            yield from loader

    batches = endless()

    def update() -> float:
        x = next(batches)
        posterior = vae.encode(x)
        distortion, kl = vae.losses(x, posterior, torch.randn_like(posterior.mu))
        loss = distortion.mean() + kl.sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return vae, update


def pythae_way(dataset: FrameDataset, seed: int) -> Callable[[int], float] | None:
    """Pythae's trainer with Burgess' network; None where Pythae is not installed."""
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
    made = VAE(VAEConfig(network="burgess"), dataset.spec.shape)

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = made.encoder

        def forward(self, x: torch.Tensor) -> Any:
            mu, logvar = self.network(x).chunk(2, dim=1)
            return ModelOutput(embedding=mu, log_covariance=logvar)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = made.decoder

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))

    height, width, channels = dataset.spec.shape
    config = PythaeConfig(input_dim=(channels, height, width), latent_dim=made.config.latent_dim)
    model = PythaeVAE(config, encoder=Encoder(), decoder=Decoder())
    frames = torch.from_numpy(dataset.frames(dataset.split(0.1, seed).train))
    logging.getLogger("pythae").setLevel(logging.ERROR)

    def way(updates: int) -> float:
        few = VAE.to_input(frames[: updates * BATCH]).contiguous()
        with TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            settings = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=1e-3,
                no_cuda=True,
                seed=seed,
            )
            data = BaseDataset(few, torch.zeros(len(few)))
            trainer = BaseTrainer(model, data, training_config=settings)
            trainer.prepare_training()
            begin = time.perf_counter()
            trainer.train_step(1)
            return (time.perf_counter() - begin) / (len(few) / BATCH)

    return way


def to_loss(dataset: FrameDataset, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds until the held-out loss that the peer's best run ends with, theirs and ours."""
    seed, steps = arguments.seed, arguments.steps
    split = dataset.split(0.1, seed)
    few = split.held_out[:: max(1, len(split.held_out) // 256)]

    def measure(vae: VAE) -> float:
        return evaluate_vae(vae, dataset, few, OBJECTIVE, BATCH).loss

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
    """Seconds at the first point that is at least as good; infinite where none is."""
    return next((seconds for seconds, loss in points if loss <= goal), float("inf"))


if __name__ == "__main__":
    main()
