"""Commands that train and measure VAEs: train-vae, sweep, show, classify, score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rl_vae.analysis.classifier import labels_of, train_classifier
from rl_vae.analysis.gallery import draw_gallery
from rl_vae.analysis.score import score_encoder
from rl_vae.cli.command import (
    HEAD_FLAGS,
    CommandWithFigures,
    CommandWithJobs,
    Dataset,
    Datasets,
    Model,
    open_datasets,
)
from rl_vae.cli.flags import call, flags
from rl_vae.constraints import Range
from rl_vae.data.dataset import FrameDataset
from rl_vae.models import pictures
from rl_vae.models.config import VAEConfig
from rl_vae.models.encoder import Encoder
from rl_vae.objectives.beta import Beta
from rl_vae.system import files
from rl_vae.training.config import TrainConfig
from rl_vae.training.heads import Heads
from rl_vae.training.sweep import train_sweep


@dataclass(kw_only=True)
class Sweep(CommandWithJobs, CommandWithFigures):
    """The same command goes on with an interrupted sweep."""

    dataset: Datasets
    """Folders that rl-vae collect wrote; several are trained on together."""
    out: Path
    """Folder of the models; each is named such as OUT/beta4-seed0."""
    beta: tuple[Annotated[float, Range(low=0)], ...] = (1.0, 4.0)
    """Weights of the KL; sums over pixels and latents, in nats."""
    seed: tuple[Annotated[int, Range(low=0)], ...] = (0, 1, 2)
    """Seeds of the weights, the noise, the order of the frames and the split."""
    vae: Annotated[Any, flags(VAEConfig, types={"network": str})]
    training: Annotated[Any, flags(TrainConfig, omit=("objective", "seed", "heads", "device"))]
    device: tuple[str, ...] = ("cpu",)
    """cpu, or a GPU such as cuda; several, such as cuda:0 cuda:1, share the models."""
    heads: Annotated[Any, flags(Heads, names=HEAD_FLAGS)]
    sweep: Annotated[Any, flags(train_sweep, only=("workers",))]

    def run(self) -> None:
        """Train, and print the held-out figures of each model."""
        devices = self.device if len(self.device) > 1 else ()
        device = self.device[0] if self.device else ""  # "" is refused as any wrong device
        same = {
            "device": device.partition(":")[0] if devices else device,
            "heads": call(Heads, self.heads),
        }
        runs = {
            f"beta{beta:g}-seed{seed}": call(
                TrainConfig, self.training, objective=Beta(beta), seed=seed, **same
            )
            for beta in self.beta
            for seed in self.seed
        }
        vae_config = call(VAEConfig, self.vae)
        # Train
        with self.opened_executor() as executor:
            trained = call(
                train_sweep,
                self.sweep,
                dataset=open_datasets(self.dataset),
                out=self.out,
                runs=runs,
                vae_config=vae_config,
                devices=devices,
                executor=executor,
            )
        # Figures
        figures: dict[str, float] = {}
        print(f"{self.out}, held-out frames, nats per frame:")
        for name, model in trained.items():
            measures = model.held_out
            print(
                f"  {name:16} distortion {measures.distortion:9.1f}  KL {measures.rate:7.2f}  "
                f"{measures.active_units:3} of {vae_config.latent_dim} latents active"
            )
            figures[f"{name}_distortion"] = measures.distortion
            figures[f"{name}_kl"] = measures.rate
            figures[f"{name}_active_units"] = measures.active_units
        self.write(figures, self.seed)


@dataclass(kw_only=True)
class Show(CommandWithFigures):
    """Draws reconstructions, samples, interpolations, traversals, codes and outlier frames."""

    model: Model
    """Folder that rl-vae train-vae wrote."""
    dataset: Dataset
    """Frames of the same size and crop: the model's own or others."""
    out: Path
    """Folder for the pictures and for anomalies.csv, the scores of every frame."""
    anomalous: Path | None = None
    """Dataset of frames that are known to be anomalous: draws ROC and precision-recall curves."""
    gallery: Annotated[
        Any,
        flags(
            draw_gallery,
            omit=("encoder", "dataset", "out", "anomalous"),
            types={"latents": tuple[int, ...], "frames": tuple[int, ...]},
        ),
    ]

    def run(self) -> None:
        """Draw, and print the share of anomalous frames."""
        frames = FrameDataset.open(self.dataset)
        gallery = call(
            draw_gallery,
            self.gallery,
            encoder=Encoder.load(self.model),
            dataset=frames,
            out=self.out,
            anomalous=None if self.anomalous is None else FrameDataset.open(self.anomalous),
        )
        shares = ", ".join(f"{name} {share:.1%}" for name, share in gallery.shares.items())
        print(
            f"{gallery.path}: pictures, and anomalies.csv. Share of {len(frames):,} frames above "
            f"the training frames' quantile {self.gallery.level:g}: {shares}"
        )
        figures = {f"outlier_{name}": share for name, share in gallery.shares.items()}
        for name, detection in gallery.detections.items():
            value, low, high = detection.auroc
            print(f"Anomalous frames by {name}: area under the ROC curve {value:.3f} "
                  f"({low:.3f} to {high:.3f}), average precision "
                  f"{detection.average_precision.value:.3f}")  # fmt: skip
            figures |= {f"auroc_{name}": value, f"auroc_{name}_low": low,
                        f"auroc_{name}_high": high}  # fmt: skip
            figures[f"average_precision_{name}"] = detection.average_precision.value
        self.write(figures, [self.gallery.seed])


@dataclass(kw_only=True)
class Classify(CommandWithFigures):
    """Draws the confusion matrix of held-out frames."""

    model: Model
    """Folder that rl-vae train-vae wrote; it is not changed."""
    dataset: Dataset
    """Frames of the same size and crop."""
    out: Path
    """Picture of the confusion matrix, NAME.png."""
    label: str = "action"
    """Label: action, if actions are whole numbers, or the name of a factor of the simulator."""
    training: Annotated[Any, flags(train_classifier, only=("fine_tune", "epochs", "seed"))]

    def run(self) -> None:
        """Train the classifier, draw its confusion matrix, print its accuracy."""
        frames = FrameDataset.open(self.dataset)
        labels = labels_of(frames, self.label)
        result = call(
            train_classifier,
            self.training,
            encoder=Encoder.load(self.model),
            dataset=frames,
            labels=labels,
        )
        encoder = "fine-tuned" if self.training.fine_tune else "frozen"
        files.make_folder(self.out.parent)
        title = f"{self.label}, encoder {encoder}: accuracy {result.accuracy:.0%}"
        pictures.save_matrix(self.out, result.confusion, labels.names, title=title)
        print(
            f"{self.out}: {self.label}, {len(labels.names)} classes, encoder {encoder}: accuracy "
            f"{result.accuracy:.1%} on held-out episodes; share of the largest class "
            f"{result.majority:.1%}"
        )
        figures = {"accuracy": result.accuracy, "majority": result.majority}
        self.write(figures, [self.training.seed])


@dataclass(kw_only=True)
class Score(CommandWithFigures):
    """Compares the code with PCA, an untrained network and 8 x 8 pixels, before any RL."""

    model: Model
    """Folder that rl-vae train-vae wrote."""
    dataset: Dataset
    """Frames of the same size and crop; those of the engine gymnasium know the state."""
    scoring: Annotated[Any, flags(score_encoder, only=("stack", "seed"))]

    def run(self) -> None:
        """Score, and print the scorecard."""
        card = call(
            score_encoder,
            self.scoring,
            encoder=Encoder.load(self.model),
            dataset=FrameDataset.open(self.dataset),
        )
        print(card)
        self.write(card.figures(), [self.scoring.seed])
