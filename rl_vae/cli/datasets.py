"""Commands on datasets: import, inspect, preview, merge, compress, export-data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from rl_vae.cli.command import Command, CommandWithFigures, Dataset, Datasets
from rl_vae.cli.flags import call, flags
from rl_vae.constraints import Range
from rl_vae.data.compress import compress_dataset
from rl_vae.data.coverage import check_not_empty, coverage
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.merge import merge_datasets
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.errors import ConfigError
from rl_vae.formats.export_data import export_data
from rl_vae.formats.import_frames import import_frames
from rl_vae.frames import FrameSpec
from rl_vae.system import files

_ROWS, _COLUMNS = 8, 12
"""Number of rows and columns of a contact sheet."""


@dataclass(kw_only=True)
class Import(Command):
    """The same command goes on with an interrupted import. A wrong source leaves nothing behind."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Folder of pictures, video or folder of videos, .npy, .npz or HDF5 file, folder of a Minari
    data set, file of dSprites or 3D Shapes."""
    out: Path
    """Folder of the dataset."""
    importing: Annotated[Any, flags(import_frames, only=("format", "max_episode_steps"))]
    folders: Annotated[Any, flags(import_frames, only=("subfolders",))]
    keys: tuple[str, ...] = ()
    """Names of arrays in the source, each NAME=KEY, such as images=observations."""
    pixels: Annotated[Any, flags(PixelOptions, omit=("pixels",))]
    spec: Annotated[Any, flags(FrameSpec)]

    def run(self) -> None:
        """Import, and print what the dataset holds."""
        pairs = [text.partition("=") for text in self.keys]
        for name, equals, key in pairs:
            if not (name and equals and key):
                raise ConfigError(
                    "--keys does not name an array.",
                    expected="NAME=KEY, such as images=observations",
                    got=repr(name),
                    remedy="write the name here, =, and the name in the source",
                )
        spec = call(FrameSpec, self.spec)
        dataset = call(
            import_frames,
            self.importing,
            self.folders,
            source=self.source,
            out=self.out,
            keys={name: key for name, _, key in pairs},
            spec=None if spec == FrameSpec() else spec,
            **asdict(call(PixelOptions, self.pixels)),
        )
        _describe(dataset)
        if ignored := dataset.header.env_kwargs.get("ignored"):
            print(f"Not imported: {', '.join(ignored)} (name them with --keys)")


@dataclass(kw_only=True)
class Inspect(CommandWithFigures):
    """With --out it also draws a contact sheet: 96 frames, evenly spaced."""

    dataset: Dataset
    """Folder of the dataset."""
    out: Path | None = None
    """PNG file for the contact sheet."""

    def run(self) -> None:
        """Print header, ranges and coverage; draw the sheet."""
        dataset = FrameDataset.open(self.dataset)
        header, content = dataset.header, coverage(dataset)
        _describe(dataset)
        print(f"complete: {'yes' if dataset.complete else 'no'}. Digest {dataset.digest}")
        print(f"origin: {header.origin}, {dict(header.env_kwargs)}, policy {dict(header.policy)}")
        if header.missing:
            print(f"not recorded: {', '.join(header.missing)}")
        steps = dataset.steps()
        figures = {"frames": float(len(dataset)), **content._asdict()}
        for name, values in _columns(dataset, steps).items():
            distinct = len(np.unique(values))
            print(f"{name}: {values.min():g} to {values.max():g}, {distinct:,} values")
            figures |= {f"{name}_low": float(values.min()), f"{name}_high": float(values.max())}
        # Pixels of evenly spaced frames
        n = _ROWS * _COLUMNS
        rows = np.unique(np.linspace(0, len(dataset) - 1, min(n, len(dataset))).astype(np.int64))
        frames = dataset.unmapped().frames(rows)
        low, high, mean = int(frames.min()), int(frames.max()), float(frames.mean())
        print(f"pixels of {len(frames)} frames: {low} to {high}, mean {mean:.1f}")
        self.write(figures, [])
        if self.out is not None:
            from rl_vae.models.sheets import Row, Sheet, Texts

            files.make_folder(self.out.parent)
            parts = [slice(start, start + _COLUMNS) for start in range(0, len(rows), _COLUMNS)]
            shown = [Row(frames[p], "", Texts("frame", [str(r) for r in rows[p]])) for p in parts]
            Sheet(shown, f"{header.env_id}: evenly spaced frames").save(self.out)
            print(f"{self.out}: contact sheet of {len(frames)} frames")


@dataclass(kw_only=True)
class Preview(Command):
    """The first frames of the dataset, episode after episode."""

    dataset: Dataset
    """Folder of the dataset."""
    out: Path
    """Video to write, NAME.gif or NAME.mp4."""
    frames: Annotated[int, Range(low=1, high=10_000)] = 300
    """Number of frames."""
    fps: Annotated[float, Range(above=0, high=100)] = 25.0
    """Frames per second of the video."""
    scale: Annotated[int, Range(low=1, high=16)] = 3
    """Number of times that each pixel is repeated."""

    def run(self) -> None:
        """Write the video."""
        from rl_vae.models import pictures

        dataset = FrameDataset.open(self.dataset)
        check_not_empty(dataset)
        rows = np.arange(min(self.frames, len(dataset)))
        shown = pictures.rgb(dataset.frames(rows))
        images = [pictures.enlarge(frame, self.scale) for frame in shown]
        files.make_folder(self.out.parent)
        pictures.save_video(self.out, images, fps=self.fps)
        print(f"{self.out}: {len(images)} frames")


@dataclass(kw_only=True)
class Merge(Command):
    """To train on several datasets no copy is needed: give all of them to train-vae."""

    datasets: Datasets
    """Folders of the datasets."""
    out: Path
    """Folder of the new dataset."""

    def run(self) -> None:
        """Merge, and print what the dataset holds."""
        _describe(merge_datasets([FrameDataset.open(path) for path in self.datasets], self.out))


@dataclass(kw_only=True)
class Compress(Command):
    """Frames, steps and digest stay the same. Reading then needs the extra compress.

    The way back: zstd -d --rm DATASET/shard-*/frames.npy.zst
    """

    dataset: Dataset
    """Folder of the dataset."""

    def run(self) -> None:
        """Compress, and print the sizes."""
        done = compress_dataset(self.dataset)
        n, before, after = max(done.frames, 1), done.bytes_before, done.bytes_after
        print(
            f"{done.path}: {done.frames:,} frames, {before / 1e6:,.1f} MB before, "
            f"{after / 1e6:,.1f} MB now ({after / n:,.0f} bytes a frame)"
        )


@dataclass(kw_only=True)
class ExportData(Command):
    """npz and hdf5 write a file, minari and mp4 a folder. mp4 changes pixels, the others do not."""

    dataset: Dataset
    """Folder of the dataset."""
    out: Path
    """File or folder to write."""
    exporting: Annotated[Any, flags(export_data, only=("format",))]

    def run(self) -> None:
        """Export, and print the path."""
        dataset = FrameDataset.open(self.dataset)
        out = call(export_data, self.exporting, dataset=dataset, out=self.out)
        print(f"{out}: {len(dataset):,} frames")


def _describe(dataset: FrameDataset) -> None:
    content, header = coverage(dataset), dataset.header
    shape = " x ".join(map(str, dataset.spec.shape))
    print(
        f"{dataset.path}: {content.frames:,} frames of {shape} from {header.env_id}, "
        f"{content.episodes:,} episodes of {content.mean_length:.0f} frames on average, "
        f"{content.near_duplicates:.1%} near-duplicates, {len(header.factor_names)} factors"
    )
    print(f"pixels: {header.source.describe()}")


def _columns(dataset: FrameDataset, steps: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Numbers of every step by name, (N,) each."""
    columns: dict[str, Any] = {}
    if "action" not in dataset.header.missing:
        actions = steps["action"].reshape(len(steps), -1)
        columns |= {f"action {k}": values for k, values in enumerate(actions.T)}
    if "reward" not in dataset.header.missing:
        columns["reward"] = steps["reward"]
    factors = zip(dataset.header.factor_names, steps["factors"].T, strict=True)
    return columns | {f"factor {name}": values for name, values in factors}
