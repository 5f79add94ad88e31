"""Benchmark: training time of agents on latents and on pixels, CarRacing-v3 in EnvPool.

Both sides have the same 16 environments, frames (64 x 64, three stacked, each action repeated for
four steps), SB3 algorithm and hyperparameters, and are measured in turn in one run. Latents: PPO or
SAC with MlpPolicy on VecLatent. Pixels: SB3's CnnPolicy on VecFrameStack.

encode_share         share of a rollout (environments, preprocessing, encoding, policy) for
                     cropping, resizing and encoding
ppo_speedup          decisions/s of PPO.learn (rollouts and updates), latents / pixels
ppo_update_speedup   the same for the updates only
sac_speedup          decisions/s of SAC.learn with one update per decision, latents / pixels
replay_ratio         bytes of one transition in SB3's replay buffer, pixels / latents
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

from rl_vae import Encoder, FrameSpec, TrainConfig, collect_frames, train_vae
from rl_vae.envs.registry import make_engine
from rl_vae.sb3 import PixelVecEnv, VecLatent
from rl_vae.system.provenance import write_figures

SPEC = FrameSpec(crop=(0, 12, 0, 0))
N_ENVS, SKIP, STACK, SEED = 16, 4, 3, 0
PPO_SETTINGS: dict[str, Any] = {"n_steps": 128, "batch_size": 256, "n_epochs": 10}
# One update for each decision: sixteen after each step of sixteen environments.
SAC_SETTINGS: dict[str, Any] = {
    "batch_size": 256,
    "buffer_size": 10_000,
    "learning_starts": 160,
    "train_freq": 1,
    "gradient_steps": N_ENVS,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--rounds", type=int, default=3, help="latents and pixels in turn")
    parser.add_argument(
        "--quick", action="store_true", help="one round: the figures are meaningless"
    )
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    torch.set_num_threads(2)
    with TemporaryDirectory() as folder:
        dataset = collect_frames(
            "CarRacing-v3",
            Path(folder) / "data",
            n_frames=256,
            spec=SPEC,
            seed=SEED,
            engine="envpool",
            progress=False,
        )
        config = TrainConfig(steps=2, seed=SEED)  # speed does not depend on the weights
        encoder = Encoder.load(
            train_vae(dataset, Path(folder) / "vae", train_config=config, progress=False).path
        )
        figures = measure(encoder, rounds)
    for name, value in figures.items():
        print(f"{name} {value:.3g}")
    if arguments.json:
        write_figures(arguments.json, figures, [SEED])


def measure(encoder: Encoder, rounds: int) -> dict[str, float]:
    shares, splits = [], []
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for observed in ("latents", "pixels"):
            split = run_ppo(encoder, observed)
            rates[f"ppo {observed}"].append(split["decisions"] / split["total"])
            rates[f"update {observed}"].append(split["decisions"] / split["update"])
            if observed == "latents":
                rollout = split["total"] - split["update"]
                shares.append((split["preprocessing"] + split["encoding"]) / rollout)
                splits.append(split)
            rates[f"sac {observed}"].append(run_sac(encoder, observed))
    parts = ("environment", "preprocessing", "encoding", "policy", "update")
    print("PPO on latents, milliseconds for a step of 16 environments:", end=" ")
    print(", ".join(f"{part} {per_step(splits, part):.2f}" for part in parts))
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):,.1f} decisions/s")
    small, large = (replay_bytes(encoder, observed) for observed in ("latents", "pixels"))
    print(
        f"a transition in the replay buffer: {small:,.0f} bytes of latents, {large:,.0f} of pixels"
    )

    def ratio(what: str) -> float:
        pairs = zip(rates[f"{what} latents"], rates[f"{what} pixels"], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    return {
        "encode_share": statistics.median(shares),
        "ppo_speedup": ratio("ppo"),
        "ppo_update_speedup": ratio("update"),
        "sac_speedup": ratio("sac"),
        "replay_ratio": large / small,
    }


def per_step(splits: list[dict[str, float]], part: str) -> float:
    return 1e3 * statistics.median(s[part] / (s["decisions"] / N_ENVS) for s in splits)


def open_venv(encoder: Encoder, observed: str) -> VecEnv:
    engine = make_engine("CarRacing-v3", N_ENVS, engine="envpool", spec=SPEC, frame_skip=SKIP)
    pixels = PixelVecEnv(engine, SEED)
    if observed == "pixels":
        return VecFrameStack(pixels, STACK)
    return VecLatent(pixels, encoder, stack=STACK)


def run_ppo(encoder: Encoder, observed: str) -> dict[str, float]:
    """Two rollouts and their updates, after one that is not counted: seconds of each part."""
    venv = open_venv(encoder, observed)
    policy = "MlpPolicy" if observed == "latents" else "CnnPolicy"
    model = PPO(policy, venv, seed=SEED, device="cpu", **PPO_SETTINGS)
    per_rollout = N_ENVS * int(PPO_SETTINGS["n_steps"])
    spent: dict[str, float] = defaultdict(float)
    with (
        timed(spent, PixelVecEnv, "step_wait", "environment and preprocessing"),
        timed(spent, FrameSpec, "apply_batch", "preprocessing"),
        timed(spent, Encoder, "encode", "encoding"),
        timed(spent, PPO, "train", "update"),
    ):
        model.learn(per_rollout)
        spent.clear()
        begin = time.perf_counter()
        model.learn(2 * per_rollout, reset_num_timesteps=False)
        spent["total"] = time.perf_counter() - begin
    venv.close()
    spent["decisions"] = 2 * per_rollout
    spent["environment"] = spent.pop("environment and preprocessing") - spent["preprocessing"]
    known = ("environment", "preprocessing", "encoding", "update")
    spent["policy"] = spent["total"] - sum(spent[name] for name in known)
    return dict(spent)


def run_sac(encoder: Encoder, observed: str) -> float:
    """Decisions per second once it learns."""
    venv = open_venv(encoder, observed)
    policy = "MlpPolicy" if observed == "latents" else "CnnPolicy"
    model = SAC(policy, venv, seed=SEED, device="cpu", **SAC_SETTINGS)
    clock = Clock(SAC_SETTINGS["learning_starts"] + 2 * N_ENVS)
    model.learn(
        SAC_SETTINGS["learning_starts"] + (10 if observed == "latents" else 4) * N_ENVS, clock
    )
    venv.close()
    return clock.decisions / clock.seconds


class Clock(BaseCallback):
    """Counts decisions and seconds after a number of decisions."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start, self.began, self.seconds, self.decisions = start, 0.0, 0.0, 0

    def _on_step(self) -> bool:
        # Called before the updates of this step: the difference of two calls holds one of each.
        now = time.perf_counter()
        if self.num_timesteps >= self.start:
            if self.began:
                self.seconds, self.decisions = now - self.began, self.decisions + N_ENVS
            else:
                self.began = now
        return True


@contextmanager
def timed(spent: dict[str, float], owner: Any, name: str, part: str) -> Iterator[None]:
    """Add up the seconds that a method takes."""
    method: Callable[..., Any] = getattr(owner, name)

    def measured(*arguments: Any, **more: Any) -> Any:
        begin = time.perf_counter()
        try:
            return method(*arguments, **more)
        finally:
            spent[part] += time.perf_counter() - begin

    setattr(owner, name, measured)
    try:
        yield
    finally:
        setattr(owner, name, method)


def replay_bytes(encoder: Encoder, observed: str) -> float:
    venv = open_venv(encoder, observed)
    size = 64
    buffer = ReplayBuffer(size, venv.observation_space, venv.action_space, n_envs=1)
    arrays = (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards)
    held = sum(array.nbytes for array in (*arrays, buffer.dones, buffer.timeouts))
    venv.close()
    return held / size


if __name__ == "__main__":
    main()
