"""Encoders of other projects in a comparison: pretrained networks, and model folders."""

from __future__ import annotations

from pathlib import Path

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.description import ModelDescription, read_model_description
from rl_vae.models.folder import read_model_files
from rl_vae.models.pretrained import PRETRAINED, pretrained
from rl_vae.models.save_encoder import save_encoder
from rl_vae.system import files
from rl_vae.system.outputs import partial_folder


def write_encoder(baseline: str, out: Path, dataset: FrameDataset) -> None:
    """Write a pretrained network, or a copy of a model folder, unless it is there already.

    Args:
        baseline: Name of a pretrained network, or path of a model folder.
        out: The new model folder.
        dataset: Frames of which the statistics of a pretrained network are computed.
    """
    if out.exists():
        return
    if baseline in PRETRAINED:
        module, preprocessing = pretrained(baseline)
        save_encoder(out, module, preprocessing=preprocessing, dataset=dataset)
        return
    description = read_model_description(baseline)
    partial = partial_folder(out)
    files.make_folder(partial)
    for name, content in read_model_files(Path(baseline), description.digest).items():
        files.write_whole(partial / name, content)
    files.rename_folder(partial, out)


def check_encoder(baseline: str, dataset: FrameDataset) -> None:
    """Check that a model folder takes the frames of a comparison.

    Raises:
        FolderError: if there is no such model, or it is damaged.
        ConfigError: if it takes other frames, or has no statistics of frames.
    """
    if baseline in PRETRAINED:
        return
    description: ModelDescription = read_model_description(baseline)
    got = description.spec, description.observation_shape, description.pixels.pixels
    expected = dataset.spec, dataset.header.raw_shape, dataset.header.source.pixels
    if got != expected:
        raise ConfigError(
            f"The model {baseline} takes other frames than the comparison.",
            expected=f"{expected[0]} of {expected[1]} pixels from {expected[2]}",
            got=f"{got[0]} of {got[1]} pixels from {got[2]}",
            remedy="save it with frames of this environment: save_encoder(..., dataset=...)",
        )
    if description.is_foreign and description.statistics is None:
        raise FolderError(
            f"The model {baseline} has no statistics of frames.",
            expected="statistics, by which its codes are standardised",
            got="an encoder that was saved without frames",
            remedy="save it with rl_vae.save_encoder(..., dataset=...)",
        )
