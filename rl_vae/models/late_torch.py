"""torch_parts: the only place where reading, encoding and wrapping import torch.

Everything else that these need works without it, so that an agent can be served by numpy,
gymnasium, OpenCV, safetensors and ONNX Runtime.
"""

from __future__ import annotations

from types import ModuleType

from rl_vae.errors import MissingPackageError


def torch_parts(purpose: str) -> ModuleType:
    """Import `rl_vae.models.torch_parts` and return it.

    Args:
        purpose: What needs torch, for the error.

    Raises:
        MissingPackageError: if torch, or a package that it needs, is not installed.
    """
    try:
        from rl_vae.models import torch_parts
    except ImportError as error:
        raise MissingPackageError.of(error, purpose) from error
    return torch_parts
