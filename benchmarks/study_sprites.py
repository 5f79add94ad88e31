"""Study: disentanglement, distortion and KL on sprites, for several betas and seeds.

The settings are those of Locatello et al. 2019 (Burgess' network, 10 latents, Bernoulli likelihood,
batch size 64), except for the number of updates (theirs: 300,000) and the learning rate. Results
are kept in OUT, and the same command continues an interrupted study. The seeds are trained one
after the other, each with all betas. With --finished, only the models that exist are scored.

A study with fewer updates needs a larger learning rate with a slow warm-up. Results of beta = 1:

    learning rate   warm-up       updates   distortion   KL (nats)
    1e-4            none          1,500     444.5        12.2
    1e-3            75 updates    1,500     560.2        0.07 (collapsed)
    1e-3            500 updates   900       115.6        18.5

recon, KL    distortion and KL in nats per frame, on held-out frames
active       number of latents whose mean varies over frames
others       rl_vae.metrics, with 10,000 training rows and 5,000 test rows. FactorVAE and BetaVAE
             use --votes training votes and half as many test votes, DCI uses --trees training rows
             and half as many test rows
"""

import argparse
import json
import multiprocessing
from pathlib import Path

import numpy as np

from rl_vae import (
    Beta,
    Encoder,
    Sprites,
    TrainConfig,
    VAEConfig,
    collect_sprites,
    metrics,
    train_sweep,
)
from rl_vae.errors import TrainingError
from rl_vae.models.description import read_config
from rl_vae.system.estimate import t_interval
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures
from rl_vae.system.strict_json import write_json

MEASURES = (
    "recon",
    "KL",
    "active",
    "MIG",
    "MIG pruned",
    "DCI",
    "SAP",
    "FactorVAE",
    "BetaVAE",
    "modularity",
    "IRS",
)
# Public checkpoints (YannDubs/disentangling-vae), one seed, measured once for this project.
PUBLIC = {
    1.0: (17.5, 25.2, None, 0.100, None, 0.141, 0.049, 0.719, 0.874, 0.836, 0.410),
    4.0: (35.6, 15.3, None, 0.128, None, 0.235, 0.060, 0.712, 0.895, 0.811, 0.453),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/study_sprites"))
    parser.add_argument("--betas", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0, 16.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=300_000, help="updates of 64 frames")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="Adam's, at its highest")
    parser.add_argument("--lr-warm-up", type=float, default=0.05, help="share in which it rises")
    parser.add_argument("--warm-up", type=float, default=0.0, help="share in which beta rises")
    parser.add_argument("--frames", type=int, default=100_000, help="of the grid's 737,280")
    parser.add_argument("--votes", type=int, default=1_000, help="of FactorVAE and BetaVAE")
    parser.add_argument("--trees", type=int, default=1_000, help="rows for DCI")
    parser.add_argument("--workers", type=int, help="processes; as many as cores if not given")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write a Markdown table there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--finished", action="store_true", help="train nothing, score the models that are there"
    )
    arguments = parser.parse_args()
    configure_process()
    runs = {
        f"beta{beta:g}-seed{seed}": TrainConfig(
            objective=Beta(beta, warm_up=arguments.warm_up),
            steps=arguments.steps,
            batch_size=64,
            learning_rate=arguments.learning_rate,
            lr_warm_up=arguments.lr_warm_up,
            held_out=0.05,
            seed=seed,
            compute="reference",
        )
        for seed in arguments.seeds
        for beta in arguments.betas
    }
    models = arguments.out / "models"
    if not arguments.finished:
        dataset = collect_sprites(arguments.out / "frames", n_frames=arguments.frames)
        vae = VAEConfig(latent_dim=10, network="burgess", likelihood="bernoulli")
        try:
            train_sweep(dataset, models, runs, vae, workers=arguments.workers)
        except TrainingError as error:
            print(error)
    trained = [name for name in runs if (models / name).is_dir()]
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        jobs = [
            (models / name, arguments.out / f"scores-{name}.json", arguments) for name in trained
        ]
        for name, _ in zip(trained, pool.imap(score, jobs, chunksize=1), strict=True):
            print(f"scored {name}", flush=True)
    scores = {
        name: json.loads((arguments.out / f"scores-{name}.json").read_text()) for name in trained
    }
    text, figures = table(scores, arguments)
    print(text)
    if arguments.table:
        write_whole(arguments.table, text.encode())
    if arguments.json:
        write_figures(arguments.json, figures, arguments.seeds)


def score(job: tuple[Path, Path, argparse.Namespace]) -> None:
    """Every measure of one model, written into a file that is kept."""
    model, path, arguments = job
    if path.is_file():
        return
    held_out = read_config(model)["provenance"]["held_out"]
    world, encode = Sprites(), Encoder.load(model, threads=1).encode
    rng = np.random.default_rng(0)  # the same draws for every model
    factors, tests = (world.sample_factors(n, rng) for n in (10_000, 5_000))
    z, z_test = encode(world.draw(factors)), encode(world.draw(tests))
    n, settings = arguments.trees, {"resamples": 0}
    most, half = arguments.votes, arguments.votes // 2
    gap = metrics.mig(z, factors, **settings)
    trees = metrics.dci(z[:n], factors[:n], z_test[: n // 2], tests[: n // 2], **settings)
    values = (
        held_out["distortion"],
        held_out["rate"],
        held_out["active_units"],
        gap.score.value,
        gap.pruned,
        trees.disentanglement.value,
        metrics.sap(z, factors, z_test, tests, **settings).score.value,
        metrics.factor_vae(
            world, encode, train_votes=most, test_votes=half, **settings
        ).score.value,
        metrics.beta_vae(
            world, encode, train_points=most, test_points=half, **settings
        ).score.value,
        metrics.modularity(z, factors, **settings).score.value,
        metrics.irs(z, factors, **settings).score.value,
    )
    write_json(path, dict(zip(MEASURES, map(float, values), strict=True)))


def table(
    scores: dict[str, dict[str, float]], arguments: argparse.Namespace
) -> tuple[str, dict[str, float]]:
    """A Markdown table and the figures: for each beta and measure the mean and its interval."""
    figures: dict[str, float] = {}
    lines = [
        "| beta | seeds | " + " | ".join(MEASURES) + " |",
        "|---" * (2 + len(MEASURES)) + "|",
    ]
    for beta in arguments.betas:
        of_beta = [scores[name] for name in scores if name.startswith(f"beta{beta:g}-")]
        if not of_beta:
            continue
        texts = [f"{beta:g}", str(len(of_beta))]
        figures[f"beta{beta:g}_seeds"] = len(of_beta)
        for measure in MEASURES:
            estimate = t_interval([one[measure] for one in of_beta])
            key = f"beta{beta:g}_{measure.replace(' ', '_')}"
            figures |= {
                key: estimate.value,
                f"{key}_low": estimate.low,
                f"{key}_high": estimate.high,
            }
            digits = 1 if measure in MEASURES[:3] else 3
            text_of_score = f"{estimate.value:.{digits}f}"
            if len(of_beta) > 1:
                text_of_score += f" ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"
            texts.append(text_of_score)
        lines.append(f"| {' | '.join(texts)} |")
    for beta, values in PUBLIC.items():
        texts = [f"{beta:g}, public checkpoint", "1"]
        texts += ["" if value is None else f"{value:g}" for value in values]
        lines.append(f"| {' | '.join(texts)} |")
    here = machine()
    about = (
        f"Sprites, {arguments.frames:,} frames of the grid, Burgess' network, 10 latents, "
        f"Bernoulli, {arguments.steps:,} updates of 64 frames, Adam at most "
        f"{arguments.learning_rate:g} (rising over {arguments.lr_warm_up:.0%} of them, the KL's "
        f"weight over {arguments.warm_up:.0%}), float32. "
        "Means, and Student's 95 % intervals over seeds. "
        f"DCI of {arguments.trees:,} rows, FactorVAE and BetaVAE of {arguments.votes:,} votes. "
        f"{here['processor']}, {here['cores']} cores, commit "
        f"{git_commit(__file__)}. "
        "The public checkpoints are of full-length training, some 300,000 updates."
    )
    return "\n".join([about, "", *lines, ""]), figures


if __name__ == "__main__":
    main()
