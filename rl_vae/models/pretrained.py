"""pretrained: public vision networks by name, through timm, to be saved with `save_encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rl_vae.constraints import check_arguments
from rl_vae.errors import ConfigError, MissingPackageError
from rl_vae.models.encoder_input import Preprocessing

if TYPE_CHECKING:
    from torch import nn

SIDE = 224
"""Height and width to which frames are enlarged."""


class _Entry(NamedTuple):
    model: str
    """Name of the model, and of its weights, in timm."""
    prefix: str | None = None
    """Beginning of the names of its weights in a file of their authors; None: timm's weights."""


PRETRAINED = {
    # Oquab et al. 2024, DINOv2, arXiv:2304.07193: class token, 384 and 768 numbers
    "dinov2-small": _Entry("vit_small_patch14_dinov2.lvd142m"),
    "dinov2-base": _Entry("vit_base_patch14_dinov2.lvd142m"),
    # He et al. 2016, ResNet, arXiv:1512.03385, trained on ImageNet: 512 numbers
    "resnet-18": _Entry("resnet18.a1_in1k"),
    # Nair et al. 2022, R3M, arXiv:2203.12601: 512 numbers; its weights are a file of the authors
    "r3m-18": _Entry("resnet18", "module.convnet."),
}
"""The networks by name."""


class PretrainedNetwork(NamedTuple):
    """A network, and what it is fed with: arguments of `save_encoder`."""

    module: nn.Module
    """From images to codes (B, Z), in evaluation mode."""
    preprocessing: Preprocessing
    """Mean and standard deviation of ImageNet, and 224 x 224 pixels."""


@check_arguments
def pretrained(name: str, *, weights: str | Path | None = None) -> PretrainedNetwork:
    """Load a public vision network with its weights.

    Args:
        name: "dinov2-small", "dinov2-base", "resnet-18" or "r3m-18".
        weights: File of the weights. None: timm's, from the cache of the Hugging Face hub, into
            which timm loads them if they are not there. "r3m-18" needs the authors' file, model.pt.

    Raises:
        ConfigError: if there is no such network, or its weights cannot be read.
        MissingPackageError: if timm is not installed.
    """
    if name not in PRETRAINED:
        raise ConfigError(
            f"There is no pretrained network {name!r}.",
            expected=", ".join(PRETRAINED),
            got=repr(name),
            remedy="choose one of them, or give your own network to rl_vae.save_encoder",
        )
    entry = PRETRAINED[name]
    try:
        import timm
    except ImportError as error:
        raise MissingPackageError.of(error, "A pretrained network") from error
    size = {"img_size": SIDE} if entry.model.startswith("vit") else {}
    try:
        if entry.prefix is None:
            given = {} if weights is None else {"pretrained_cfg_overlay": {"file": str(weights)}}
            module = timm.create_model(entry.model, pretrained=True, num_classes=0, **size, **given)
        else:
            module = timm.create_model(entry.model, pretrained=False, num_classes=0)
            module.load_state_dict(_read_weights(Path(weights or ""), entry.prefix))
    except Exception as error:  # timm, its hub and torch raise many kinds of exceptions
        raise ConfigError(
            f"The weights of {name} cannot be read.",
            expected=f"the file weights={weights}" if weights else "weights in the hub's cache",
            got=f"{type(error).__name__}: {error}",
            remedy="load them where there is a network, or give their file as weights=",
        ) from error
    return PretrainedNetwork(module.eval(), Preprocessing.imagenet((SIDE, SIDE)))


def _read_weights(path: Path, prefix: str) -> dict[str, Any]:
    """Weights whose names begin with a prefix, without it, from a file of torch.save."""
    import torch

    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    while isinstance(content, Mapping) and len(content) == 1:
        (content,) = content.values()
    weights = content.get("r3m", content)
    return {
        key.removeprefix(prefix): value
        for key, value in weights.items()
        if key.startswith(prefix) and not key.startswith(f"{prefix}fc.")
    }
