"""Benchmark: false alarms and detections of the drift monitor, and the cost of watching.

Uses the results of `make demo`: the VAE was trained on frames of a random driver, the agent drives
further.

Each stream of 4,096 frames, of which every 16th is scored, has a monitor of its own. There are
streams of new tracks with the driver of the training frames (a warning is a false alarm), of the
trained agent, and of changed pictures. STREAM_warned is the share of streams with a warning,
STREAM_share the mean share of outliers at the end of a stream.

Costs: microseconds of one score, of one picture, and of one step of Gymnasium's CarRacing-v3 with
LatentObservation, with and without watching, in turn.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rl_vae.agents.agent import Agent
from rl_vae.data.collect import collect_frames
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.policies import CollectionPolicy, Correlated
from rl_vae.envs.make import make_env
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.models.scores import score_frames
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures
from rl_vae.wrappers.drift import EVERY, WINDOW, DriftMonitor, DriftWarning
from rl_vae.wrappers.latent import LatentObservation
from rl_vae.wrappers.watch import WatchLatents, draw

ENV_ID = "CarRacing-v3"
DRIVER = Correlated(correlation=0.9, scale=0.5, bias=(0.0, -0.3, -1.2))  # the demo's
SEED = 7  # not the demo's
STREAM = WINDOW * EVERY


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="made by make demo")
    parser.add_argument("--streams", type=int, default=10, help="of each kind, from 1 up")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    configure_process()
    agent = Agent.load(arguments.demo / "agent")
    figures = alarms(agent, arguments.streams) | costs(agent.encoder)
    if arguments.json:
        write_figures(arguments.json, figures, [SEED])


def alarms(agent: Agent, streams: int) -> dict[str, float]:
    encoder = agent.encoder
    with tempfile.TemporaryDirectory() as folder:

        def frames(name: str, policy: CollectionPolicy, skip: int) -> UInt8Array:
            dataset: FrameDataset = collect_frames(
                ENV_ID,
                Path(folder) / name,
                n_frames=streams * STREAM,
                spec=encoder.spec,
                policy=policy,
                frame_skip=skip,
                seed=SEED,
                engine="envpool",
                progress=False,
            )
            return dataset.frames(np.arange(0, len(dataset), EVERY))

        like = frames("like", DRIVER, 1)
        driven = frames("driven", agent, agent.recipe.frame_skip)
    patched = like.copy()
    patched[:, 20:26, 20:26] = (255, 0, 0)
    kinds = {
        "like": like,
        "agent": driven,
        "darker": (like * 0.8).astype(np.uint8),
        "shifted": np.roll(like, 4, axis=2),
        "patched": patched,
    }
    figures: dict[str, float] = {"streams": streams}
    print(f"{'stream':10} {'warned':>8} {'outliers':>8}")
    for name, seen_frames in kinds.items():
        shares, warned = [], 0
        for stream in np.split(seen_frames, streams):
            monitor = DriftMonitor(encoder)
            with warnings.catch_warnings(record=True) as given:
                warnings.simplefilter("always")
                shares.append(monitor.score(stream)[-1].share)
            warned += any(warning.category is DriftWarning for warning in given)
        figures |= {f"{name}_warned": warned / streams, f"{name}_share": statistics.mean(shares)}
        print(f"{name:10} {warned:5d}/{streams:<2d} {statistics.mean(shares):8.3f}", flush=True)
    return figures


def costs(encoder: Encoder) -> dict[str, float]:
    latent = LatentObservation(make_env(ENV_ID), encoder.path)
    watched = WatchLatents(LatentObservation(make_env(ENV_ID), encoder.path))
    action = np.array([0.0, 0.1, 0.0], np.float32)
    frames = np.zeros((16, *encoder.spec.shape), np.uint8)
    for env in (latent, watched):
        env.reset(seed=SEED)
    timed = {
        "step": lambda: latent.step(action),
        "step_watched": lambda: watched.step(action),
        "score_1": lambda: score_frames(encoder.vae, frames[:1]),
        "score_16": lambda: score_frames(encoder.vae, frames),
        "picture": lambda: draw(encoder, frames[:1]),
    }
    rounds = [{name: microseconds(do) for name, do in timed.items()} for _ in range(5)]
    figures = {f"{name}_us": statistics.median(r[name] for r in rounds) for name in timed}
    figures["watched_overhead"] = (
        statistics.median(r["step_watched"] / r["step"] for r in rounds) - 1
    )
    for name, value in figures.items():
        print(f"{name:18} {value:10.3f}")
    return figures


def microseconds(do: Callable[[], object], times: int = 64) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        do()
    return (time.perf_counter() - begin) / times * 1e6


if __name__ == "__main__":
    main()
