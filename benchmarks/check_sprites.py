"""Check: drawing speed of the sprites, number of distinct pictures, returns of the environment.

draw_seconds      processor time to draw 20,000 random sprites, median of the rounds
distinct          number of distinct pictures among the 737,280 on the grid
repeats_of_turn   number of pictures at orientation 2 pi, which repeat orientation 0
other_repeats     number of other pictures that equal an earlier one. They may differ from it in
                  orientation only, and no heart may repeat; otherwise this script fails
straight_return   mean return in rl_vae/Sprites-v0 of the straight path to the target
random_return     mean return of uniformly random actions
"""

import argparse
import hashlib
import statistics
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from tqdm import tqdm

from rl_vae.envs.factors import read_factors
from rl_vae.sprites import FACTOR_NAMES, FACTOR_SIZES, Sprites, draw_sprites
from rl_vae.system.provenance import write_figures

SEED = 0
ORIENTATION = FACTOR_NAMES.index("orientation")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--rounds", type=int, default=5, help="of drawing, from 1 up")
    parser.add_argument("--episodes", type=int, default=3000, help="of either policy, from 1 up")
    arguments = parser.parse_args()
    figures = {"draw_seconds": draw_seconds(arguments.rounds), **repeats()}
    for policy in ("straight", "random"):
        figures[f"{policy}_return"] = mean_return(policy == "straight", arguments.episodes)
    for name, value in figures.items():
        print(f"{name:16} {value:,.3f}")
    if arguments.json:
        write_figures(arguments.json, figures, [SEED])


def draw_seconds(rounds: int) -> float:
    factors = Sprites().sample_factors(20_000, np.random.default_rng(SEED))
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        Sprites().draw(factors)
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def repeats() -> dict[str, float]:
    first: dict[bytes, int] = {}
    total, turns, others = int(np.prod(FACTOR_SIZES)), 0, 0
    for start in tqdm(range(0, total, 8192), unit="batches", disable=None):
        places = np.arange(start, min(start + 8192, total))
        factors = np.stack(np.unravel_index(places, FACTOR_SIZES), axis=1)
        rows = np.packbits(draw_sprites(factors).reshape(len(factors), -1), axis=1)
        for place, own, row in zip(places.tolist(), factors, rows, strict=True):
            digest = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            before = np.array(np.unravel_index(first.setdefault(digest, place), FACTOR_SIZES))
            if own[ORIENTATION] == FACTOR_SIZES[ORIENTATION] - 1:
                turns += 1
                continue
            if (before != own).any():
                others += 1
                if np.flatnonzero(before != own).tolist() != [ORIENTATION] or own[0] == 2:
                    raise SystemExit(f"{own} repeats {before}")
    return {"distinct": len(first), "repeats_of_turn": turns, "other_repeats": others}


def mean_return(straight: bool, episodes: int) -> float:
    env = gym.make("rl_vae/Sprites-v0")
    env.action_space.seed(SEED)
    total = 0.0
    for episode in range(episodes):
        env.reset(seed=SEED + episode)
        over = False
        while not over:
            state = read_factors(env)
            x, y = (state[f"target_{one}"] - state[f"position_{one}"] for one in "xy")
            way = int(x <= 0) if abs(x) > 1 else 2 + int(y <= 0)
            action = way if straight else env.action_space.sample()
            _, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            over = terminated or truncated
    return total / episodes


if __name__ == "__main__":
    main()
