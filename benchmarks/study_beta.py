"""Study of objectives in a world that is small enough to be learned in seconds by each model.

The world is rl_vae/Sprites-v0 with three factors: scale (6 values), column and row (32 each) of an
upright ellipse on black. The target, which is not drawn, is the centre. Frames are 32 x 32 and
gray. Each objective and each seed gives a model, its scores, and a PPO agent on its code:

    recon, KL    distortion and KL in nats per frame, on held-out frames
    active       number of latents whose mean varies over frames
    MIG, SAP     of all 1,536 frames of a coarser grid: 6 scales, 16 columns, 16 rows
    DCI          of 500 training rows and 500 test rows of that grid, with 4 classes of a position
    FactorVAE    of 2,000 training votes and 1,000 test votes on that grid
    return       mean of 20 episodes without noise, after --ppo-steps decisions

Results are kept in OUT/results.json after each model; the same command continues an interrupted
study. The seeds are run one after the other. With --finished, nothing is trained: the tables are
those of the models that exist.
"""

import argparse
import json
import time
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_vae import (
    Beta,
    BetaTC,
    Capacity,
    Encoder,
    FactorVAE,
    FrameDataset,
    FrameSpec,
    Objective,
    Recipe,
    TrainConfig,
    VAEConfig,
    evaluate_agent,
    import_frames,
    metrics,
    train_agent,
    train_vae,
)
from rl_vae.frames import UInt8Array
from rl_vae.sprites import draw_sprites
from rl_vae.system.estimate import t_interval
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures
from rl_vae.system.strict_json import write_json

ENV_ID = "rl_vae/Sprites-v0"
DO = {"shape": 1, "orientation": 0, "target_x": 16, "target_y": 16}
SPEC = FrameSpec(height=32, width=32, channels=1)
SIZES = (6, 32, 32)
SYSTEMS: dict[str, Objective] = {
    **{f"beta {beta}": Beta(float(beta), warm_up=0.0) for beta in (1, 2, 4, 8, 16)},
    "capacity 8": Capacity(8.0, gamma=8.0, warm_up=0.8),
    "beta-TC 6": BetaTC(6.0, warm_up=0.0),
    "FactorVAE 10": FactorVAE(10.0, warm_up=0.0, width=100),
}
TWICE = ("beta 1", "beta 4", "beta 16")
"""Objectives that are also trained with twice the updates, with the first seed."""
MEASURES = {
    **{"recon": 1, "KL": 2, "active": 1, "MIG": 3, "DCI": 3, "SAP": 3, "FactorVAE": 3},
    **{"return": 2, "seconds": 0},
}
"""Measures and their numbers of digits."""


def draw(factors: NDArray[np.int64]) -> UInt8Array:
    """Images (N, 64, 64, 3) of factors (N, 3), as the agent's environment draws them."""
    scale, x, y = factors.T
    masks = draw_sprites(np.stack([0 * scale + 1, scale, 0 * scale, x, y], axis=1))
    return np.repeat(masks.view(np.uint8)[..., None] * np.uint8(255), 3, axis=3)


class World:
    """Sampler of frames on a coarser grid."""

    factor_sizes = (6, 16, 16)

    def draw(self, factors: NDArray[np.int64], rng: np.random.Generator | None) -> UInt8Array:
        """Frames (N, 32, 32, 1) of factors (N, 3)."""
        return SPEC.apply_batch(draw(factors * (1, 2, 2)))


def frames_of(folder: Path) -> FrameDataset:
    """The dataset: every combination of factors once, each an episode of its own."""
    file = folder / "images.npy"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        order = np.random.default_rng(0).permutation(np.prod(SIZES))
        np.save(file, draw(np.stack(np.unravel_index(order, SIZES), axis=1)))
    return import_frames(file, folder / "frames", spec=SPEC, max_episode_steps=1, progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/study_beta"))
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--steps", type=int, default=1_200, help="updates of 64 frames")
    parser.add_argument("--ppo-steps", type=int, default=1_536, help="decisions of each agent")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write Markdown tables there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--finished", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    configure_process()
    path = arguments.out / "results.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    if not arguments.finished:
        dataset = frames_of(arguments.out)
        for name, system, seed, steps in jobs(arguments):
            if name not in results:
                out = arguments.out / name.replace(" ", "_")
                agent_steps = arguments.ppo_steps if steps == arguments.steps else 0
                config = training(system, seed, steps)
                results[name] = run(dataset, out, config, agent_steps)
                write_json(path, results)
                print(name, results[name], flush=True)
    text, figures = summary(results, arguments)
    print(text)
    if arguments.table:
        write_whole(arguments.table, text.encode())
    if arguments.json:
        write_figures(arguments.json, figures, sorted({seed_of(name) for name in results}))


def jobs(arguments: argparse.Namespace) -> list[tuple[str, str, int, int]]:
    """Name, objective, seed and number of updates of each model, in the order of training."""
    result = [
        (f"{system}, seed {seed}", system, seed, arguments.steps)
        for seed in range(arguments.seeds)
        for system in SYSTEMS
    ]
    twice = [(f"{name}, twice, seed 0", name, 0, 2 * arguments.steps) for name in TWICE]
    return [*result[: 3 * len(SYSTEMS)], *twice, *result[3 * len(SYSTEMS) :]]


def training(system: str, seed: int, steps: int) -> TrainConfig:
    return TrainConfig(
        objective=SYSTEMS[system],
        steps=steps,
        learning_rate=2e-3,
        lr_warm_up=0.1,
        held_out=0.05,
        seed=seed,
    )


def run(
    dataset: FrameDataset, out: Path, config: TrainConfig, agent_steps: int
) -> dict[str, float]:
    """Train and score a model, then train and evaluate an agent on it."""
    start = time.perf_counter()
    vae = VAEConfig(latent_dim=6, network="small", likelihood="bernoulli")
    trained = train_vae(dataset, out / "vae", vae, config, progress=False)
    held_out = trained.held_out
    result = {
        "recon": held_out.distortion,
        "KL": held_out.rate,
        "active": held_out.active_units,
        **scores(Encoder.load(trained.path, threads=1)),
    }
    if agent_steps:
        recipe = Recipe(
            algorithm="PPO",
            total_steps=agent_steps,
            n_envs=8,
            stack=1,
            learning_rate=1e-3,
            final_learning_rate=0.0,
            hyperparameters={
                **{"n_steps": 64, "batch_size": 128, "n_epochs": 10},
                **{"gamma": 0.98, "gae_lambda": 0.9, "policy_kwargs": {"net_arch": [64, 64]}},
            },
        )
        agent = train_agent(
            ENV_ID,
            trained.path,
            out / "agent",
            recipe,
            seed=config.seed,
            env_kwargs={"do": DO},
            evaluations=0,
            workers=1,
            progress=False,
        )
        result["return"] = evaluate_agent(agent.path, episodes=20, workers=1).mean
    result["seconds"] = time.perf_counter() - start
    return {name: float(value) for name, value in result.items()}


def scores(encoder: Encoder) -> dict[str, float]:
    """Metrics of a code on the coarser grid."""
    grid = metrics.tabulate(World(), encoder.encode)
    n = len(grid.codes)
    order = np.random.default_rng(0).permutation(n)  # the same for every model
    z, factors = grid.codes[order], np.stack(np.unravel_index(order, World.factor_sizes), axis=1)
    classes, half, few = factors // (1, 4, 4), n // 2, 500
    rows = (z[:few], classes[:few], z[half : half + few], classes[half : half + few])
    return {
        "MIG": metrics.mig(z, factors, resamples=0).score.value,
        "DCI": metrics.dci(*rows, resamples=0).disentanglement.value,
        "SAP": metrics.sap(
            z[:half], factors[:half], z[half:], factors[half:], resamples=0
        ).score.value,
        "FactorVAE": metrics.factor_vae(
            grid, train_votes=2_000, test_votes=1_000, resamples=0
        ).score.value,
    }


def seed_of(name: str) -> int:
    return int(name.rpartition(" ")[2])


def summary(
    results: Mapping[str, Mapping[str, float]], arguments: argparse.Namespace
) -> tuple[str, dict[str, float]]:
    """The tables as Markdown, and the figures."""
    figures: dict[str, float] = {}
    lines = [
        "| objective | seeds | " + " | ".join(MEASURES) + " |",
        "|---" * (2 + len(MEASURES)) + "|",
    ]
    by_system = {
        system: [results[name] for name in results if name.startswith(f"{system}, seed ")]
        for system in SYSTEMS
    }
    for system, runs in by_system.items():
        key = system.replace(" ", "_")
        figures[f"{key}_seeds"] = len(runs)
        texts = [system, str(len(runs))]
        for measure, digits in MEASURES.items():
            if not runs:
                texts.append("not run")
                continue
            value, low, high = t_interval([one[measure] for one in runs])
            figures |= {
                f"{key}_{measure}": value,
                f"{key}_{measure}_low": low,
                f"{key}_{measure}_high": high,
            }
            texts.append(f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        lines.append(f"| {' | '.join(texts)} |")
    lines += ["", *separations(results), "", *convergence(results)]
    here = machine()
    about = (
        "Written by `python benchmarks/study_beta.py --table FILE --json FILE`; the script "
        "describes world and measures. "
        f"{np.prod(SIZES):,} frames, network small, 6 latents, Bernoulli, "
        f"{arguments.steps:,} updates of 64 frames, Adam at most 0.002 (rising over 10 % of them), "
        f"PPO with {arguments.ppo_steps:,} decisions. Means and Student's 95 % intervals over "
        f"seeds. {here['processor']}, {here['cores']} cores, commit {git_commit(__file__)}. "
        "Seconds are those of a model with scores and agent on one core, which other processes "
        f"used, too. Number of models: {len(results)} of {len(jobs(arguments))}."
    )
    return "\n".join(["# Betas on a small world", "", about, "", *lines, ""]), figures


def separations(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    """For each measure the pairs of betas whose paired difference has an interval without 0."""
    betas = [system for system in SYSTEMS if system.startswith("beta ")]
    lines = [
        "Pairs of betas whose difference over the same seeds has a 95 % interval without 0 "
        "(without correction for the number of pairs, 10 of each measure):",
        "",
        "| measure | pairs | mean of the difference (interval) |",
        "|---|---|---|",
    ]
    for measure in ("recon", "KL", "MIG", "DCI", "SAP", "FactorVAE", "return"):
        found, texts = [], []
        for one, other in combinations(betas, 2):
            seeds = [
                seed_of(name)
                for name in results
                if name.startswith(f"{one}, seed ") and f"{other}, seed {seed_of(name)}" in results
            ]
            if len(seeds) < 2:
                continue
            value, low, high = t_interval(
                [
                    results[f"{other}, seed {seed}"][measure]
                    - results[f"{one}, seed {seed}"][measure]
                    for seed in seeds
                ]
            )
            if low > 0 or high < 0:
                found.append(f"{one[5:]} and {other[5:]}")
                texts.append(f"{value:+.3f} ({low:.3f} to {high:.3f})")
        lines.append(f"| {measure} | {'; '.join(found) or 'none'} | {'; '.join(texts)} |")
    return lines


def convergence(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The same seed with the study's updates and with twice as many."""
    names = ("recon", "KL", "MIG", "DCI")
    lines = [
        "Convergence, seed 0: the study's number of updates, and twice as many:",
        "",
        "| objective | " + " | ".join(names) + " |",
        "|---" * (1 + len(names)) + "|",
    ]
    for system in TWICE:
        one, two = (results.get(f"{system}, {text}seed 0") for text in ("", "twice, "))
        if one and two:
            texts = [f"{one[name]:.2f}, {two[name]:.2f}" for name in names]
        else:
            texts = ["not run"] * len(names)
        lines.append(f"| {system} | {' | '.join(texts)} |")
    return lines


if __name__ == "__main__":
    main()
