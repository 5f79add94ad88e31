"""Commands for deployment: export, bench."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from rl_vae.cli.command import Command, CommandWithFigures, Model
from rl_vae.cli.flags import call, flags
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.models.description import is_model
from rl_vae.models.encoder import Encoder
from rl_vae.models.export_encoder import PrecisionError, export_encoder


@dataclass(kw_only=True)
class Export(Command):
    """The exported file runs with onnxruntime and numpy alone."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT|MODEL")]
    """Folder of an agent, or of a model: then raw images go in and codes come out."""
    out: Path
    """File, NAME.onnx; an earlier export there is replaced."""
    exporting: Annotated[Any, flags(export_encoder, only=("precision",))]
    dataset: Path | None = None
    """Frames of the model, for the ranges of int8 and for the error of lower precisions."""

    def run(self) -> None:
        """Export, and print the size of the file."""
        if is_model(self.folder):
            frames = None if self.dataset is None else FrameDataset.open(self.dataset)
            path, error = call(
                export_encoder, self.exporting, model=self.folder, out=self.out, dataset=frames
            )
            content = "raw image in, code out"
        else:
            path, error = self._export_agent(), None
            content = "raw observation and history in, action and history out"
        print(f"{path}: {content}, {path.stat().st_size / 1e6:.1f} MB")
        if error is not None:
            print(_sentence(error))

    def _export_agent(self) -> Path:
        """Export an agent; loads Stable-Baselines3 only if it is needed."""
        if self.exporting.precision != "float32" or self.dataset is not None:
            raise ConfigError(
                "Only a model is exported in another precision.",
                expected="the folder of a model, or neither --precision nor --dataset",
                got=str(self.folder),
                remedy="export the agent without these flags",
            )
        from rl_vae.agents.export import export_agent

        return export_agent(self.folder, self.out)


@dataclass(kw_only=True)
class Bench(CommandWithFigures):
    """Times are medians, of calls of ONNX Runtime with 1, 8 and 32 images."""

    model: Model
    """Folder of a model."""
    dataset: Path | None = None
    """Frames of the model: with them int8 is measured, too, and the errors."""

    def run(self) -> None:
        """Measure, and print a table."""
        from rl_vae.models.latency_table import BATCHES, latency_table

        encoder = Encoder.load(self.model)
        frames = None if self.dataset is None else FrameDataset.open(self.dataset)
        table = latency_table(encoder, frames)
        shape = " x ".join(map(str, encoder.spec.shape))
        print(f"{self.model}: {shape} -> {encoder.latent_dim}; microseconds per call")
        header = "".join(f"{n:>5} image{'s' * (n > 1)}".rjust(11) for n in BATCHES)
        print(f"  {'input':11}{'precision':10}{'threads':>7}{header}")
        figures = {
            f"{row.input.replace(' ', '_')}_{row.precision}_{row.threads}_{row.batch}": (
                row.microseconds
            )
            for row in table.rows
        }
        lines: dict[tuple[str, str, int], list[float]] = {}
        for row in table.rows:
            key = (row.input, row.precision, row.threads)
            lines.setdefault(key, []).append(row.microseconds)
        for (name, precision, threads), times in sorted(lines.items()):
            columns = "".join(f"{time:11,.0f}" for time in times)
            print(f"  {name:11}{precision:10}{threads:7}{columns}")
        for name, error in table.errors.items():
            print(f"{name}: {_sentence(error)}")
            figures |= {f"{name}_relative": error.relative, f"{name}_largest": error.largest}
        self.write(figures, ())


def _sentence(error: PrecisionError) -> str:
    """The error and the speed of a lower precision."""
    return (
        f"error of mu on {error.frames} frames: {error.relative:.2%} of a latent's standard "
        f"deviation, at most {error.largest:.2g}; {error.microseconds:.0f} microseconds a frame, "
        f"float32 {error.float32_microseconds:.0f}"
    )
