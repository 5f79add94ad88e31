"""Study: held-out loss, reconstructions and samples of every objective on CarRacing frames.

Every objective is trained with its defaults on the same frames, 64 x 64 x 3, with the default
network and 32 latents. One line per objective: held-out loss after the first epoch and of the best
epoch, distortion, rate (for objectives that draw no z: half the squared length of the code), bits
per value, root mean square error of 255, active latents. OUT/objectives.png shows held-out frames
in the first row; then one row per objective with reconstructions and samples of the prior.

loss_fell   number of objectives whose loss is lower than after the first epoch
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from driving import driving_frames  # type: ignore[import-not-found]

from rl_vae import (
    Adversarial,
    Autoencoder,
    Beta,
    BetaTC,
    Capacity,
    Denoising,
    Encoder,
    FactorVAE,
    TrainConfig,
    train_vae,
)
from rl_vae.models.sheets import Row, Sheet
from rl_vae.objectives.base import Objective
from rl_vae.system import strict_json
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import write_figures

FAMILY: dict[str, Objective] = {
    "autoencoder": Autoencoder(),
    "denoising, Gaussian": Denoising("gaussian", 0.1),
    "denoising, masking": Denoising("masking", 0.3),
    "VAE": Beta(1.0),
    "beta 4": Beta(4.0),
    "beta 4, cyclical": Beta(4.0, warm_up=0.5, cycles=4),
    "capacity 25": Capacity(),
    "beta-TC 6": BetaTC(),
    "FactorVAE 6.4": FactorVAE(),
    "adversarial": Adversarial(),
    "adversarial, mixture": Adversarial(prior="mixture"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=400, help="updates of 64 frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/objectives"), metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    configure_process()
    fell, rows = 0, []
    with tempfile.TemporaryDirectory() as folder:
        dataset = driving_frames(
            None, Path(folder) / "frames", arguments.frames, seed=arguments.seed
        )
        held_out = dataset.split(0.1, arguments.seed).held_out
        frames = dataset.frames(held_out[np.linspace(0, len(held_out) - 1, 8).astype(int)])
        for number, (name, objective) in enumerate(FAMILY.items()):
            config = TrainConfig(steps=arguments.steps, objective=objective, seed=arguments.seed)
            out = Path(folder) / str(number)
            best = train_vae(dataset, out, train_config=config).held_out
            first, *_ = strict_json.read_lines(out / "metrics.jsonl")
            fell += best.loss < first["loss"]
            bits = best.bits_per_dimension
            print(
                f"{name:21s} loss {first['loss']:9.1f} {best.loss:9.1f}  distortion "
                f"{best.distortion:9.1f}  rate {best.rate:7.1f}  bits "
                f"{'   -' if bits is None else f'{bits:.2f}'}  rmse {best.mse**0.5:4.1f}  active "
                f"{best.active_units:2d}  "
                + ", ".join(f"{part} {value:.2f}" for part, value in best.terms.items()),
                flush=True,
            )
            encoder = Encoder.load(out, runtime="torch")
            drawn = encoder.sample(8, seed=arguments.seed)
            label = f"{name}\nerror {best.mse**0.5:.1f} of 255\nKL {best.rate:.1f} nats"
            rows.append(Row(np.concatenate([encoder.reconstruct(frames), drawn]), label))
    arguments.out.mkdir(parents=True, exist_ok=True)
    groups = [("held-out frames and their reconstructions", 8), ("samples of the prior", 8)]
    title = f"CarRacing, {arguments.steps} updates of 64 frames, seed {arguments.seed}"
    sheet = Sheet([Row(frames, "real frames"), *rows], title, groups=groups)
    sheet.save(arguments.out / "objectives.png")
    if arguments.json:
        write_figures(arguments.json, {"loss_fell": fell}, [arguments.seed])


if __name__ == "__main__":
    main()
