"""Killed at random steps and resumed: does a training end with the same bits?

One training runs through; another of the same settings is killed (SIGKILL, in the middle of an
update) again and again and resumed each time. Compared are: the digest of weights, optimizer, noise
and counters at every checkpoint that either wrote, metrics.jsonl but for seconds, and the weights
of the model.

kills        how many there were
differences  how many of the checkpoints, metrics and models were not the same to the bit
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from rl_vae import Correlated, FrameDataset, FrameSpec, TrainConfig, collect_frames, files, training
from rl_vae import train_vae as train
from rl_vae.envs import quiet
from rl_vae.evaluation import write_figures

FRAMES = 1000
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=280)
    parser.add_argument("--seed", type=int, default=0, help="of the steps at which it is killed")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    if arguments.child:
        sitting(arguments.child, arguments.steps, arguments.die)
        return
    quiet()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        collect_frames(
            "CarRacing-v3",
            Path(folder) / "frames",
            n_frames=FRAMES,
            spec=FrameSpec(height=32, width=32, crop=(0, 12, 0, 0)),
            policy=Correlated(bias=(0.0, -0.3, -1.2)),
            engine="gymnasium",
            seed=arguments.seed,
        )
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        start(whole, arguments.steps, 0)
        kills = 0
        while not killed.is_dir():
            # An epoch is 13 updates: some sittings come to a checkpoint, some to none.
            die = chance.randint(1, 28) if kills < arguments.kills else 0
            kills += start(killed, arguments.steps, die)
        differences = compare(whole, killed)
    figures = {"kills": kills, "differences": differences}
    for name, value in figures.items():
        print(f"{name} {value}")
    if arguments.json:
        write_figures(arguments.json, figures, [arguments.seed])
    if differences:
        sys.exit(1)


def start(out: Path, steps: int, die: int) -> bool:
    """One sitting in a process of its own; whether it was killed."""
    command = [
        sys.executable,
        __file__,
        "--child",
        str(out),
        "--steps",
        str(steps),
        "--die",
        str(die),
    ]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"a sitting ended with status {done.returncode}")
    return done.returncode != 0


def sitting(out: Path, steps: int, die: int) -> None:
    """Train; die in this sitting's update number `die`, 0: never. Note every checkpoint."""
    names = vars(training)
    save, count = names["save_checkpoint"], 0

    def save_and_note(partial: Path, state: Any) -> None:
        save(partial, state)
        digest = hashlib.sha256(content({**state.to_dict(), "seconds": 0.0})).hexdigest()
        files.append_line(out.with_suffix(".states"), {"step": state.step, "sha256": digest})

    def die_in_time(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == die:
            os.kill(os.getpid(), signal.SIGKILL)

    names["save_checkpoint"] = save_and_note
    # Between an update's gradients and its optimizer.
    register_optimizer_step_pre_hook(die_in_time)
    dataset = FrameDataset.open(out.with_name("frames"))
    train(dataset, out, train_config=TrainConfig(steps=steps, batch_size=BATCH), progress=False)


def content(value: Any) -> bytes:
    """Every bit of a state, in the order of its names."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype).encode() + value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        names = sorted(value, key=str)
        return b"".join(str(name).encode() + content(value[name]) for name in names)
    if isinstance(value, list | tuple):
        return b"".join(map(content, value))
    return repr(value).encode()


def compare(one: Path, other: Path) -> int:
    """Count what differs."""
    states = [
        {(line["step"], line["sha256"]) for line in files.read_lines(path.with_suffix(".states"))}
        for path in (one, other)
    ]
    metrics = [
        [{**line, "seconds": 0} for line in files.read_lines(path / "metrics.jsonl")]
        for path in (one, other)
    ]
    models = [(path / "model.safetensors").read_bytes() for path in (one, other)]
    print(f"{len(states[0])} checkpoints, {len(metrics[0])} lines of metrics")
    return len(states[0] ^ states[1]) + (metrics[0] != metrics[1]) + (models[0] != models[1])


if __name__ == "__main__":
    main()
