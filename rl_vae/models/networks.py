"""Registry of networks: names, layers of the built-in ones, and checks of a choice."""

from __future__ import annotations

from dataclasses import dataclass

from rl_vae.errors import ConfigError
from rl_vae.models.conv_layers import Conv, ConvLayers
from rl_vae.models.network import Network


def _patch(width: int) -> ConvLayers:
    """Layers whose first one has `width` channels, each of which looks at patches of 8 x 8."""
    return ConvLayers(
        (Conv(width, 8, 4, 2), Conv(2 * width, 4, 2, 1), Conv(4 * width, 4, 2, 1)),
        (8 * width,),
        (8 * width,),
        4 * width,
        (Conv(2 * width, 4, 2, 1), Conv(width, 4, 2, 1), Conv(0, 8, 4, 2)),
        centred=True,
    )


NETWORKS: dict[str, ConvLayers] = {
    # The default. A first layer of 8 x 8 patches leaves a sixteenth of the pixels to the other
    # layers. It is centred on the mean frame: if most of a frame never changes, as in CartPole,
    # the constant part otherwise dominates the loss and the posterior collapses.
    "patch": _patch(32),
    # Half of "patch" in width: a frame takes less than a third of the time.
    "narrow": _patch(16),
    # Ha & Schmidhuber 2018, World Models, appendix A.1.
    "world_models": ConvLayers(
        (Conv(32, 4, 2, 0), Conv(64, 4, 2, 0), Conv(128, 4, 2, 0), Conv(256, 4, 2, 0)),
        (),
        (),
        1024,
        (Conv(128, 5, 2, 0), Conv(64, 5, 2, 0), Conv(32, 6, 2, 0), Conv(0, 6, 2, 0)),
    ),
    # Burgess et al. 2018, Understanding disentangling in beta-VAE, appendix A.
    "burgess": ConvLayers(
        (Conv(32, 4, 2, 1),) * 4,
        (256, 256),
        (256, 256),
        32,
        (Conv(32, 4, 2, 1), Conv(32, 4, 2, 1), Conv(32, 4, 2, 1), Conv(0, 4, 2, 1)),
    ),
    # A quarter of "patch" in width, with two convolutions: for frames of about 32 x 32 pixels.
    "small": ConvLayers(
        (Conv(16, 8, 4, 2), Conv(32, 4, 2, 1)),
        (64,),
        (64,),
        32,
        (Conv(16, 4, 2, 1), Conv(0, 8, 4, 2)),
    ),
    # One hidden layer in encoder and decoder, as in Kingma & Welling 2014, appendix C, with ReLUs.
    # On 28 x 28 grayscale frames and with 20 latents it is 784-400-20-400-784.
    "mlp": ConvLayers((), (400,), (400,), 0, ()),
    # One matrix in encoder and decoder, centred: PCA is written as this network
    # (rl_vae.training.baselines).
    "linear": ConvLayers((), (), (), 0, (), centred=True),
}
"""Layers of the built-in networks by name."""


@dataclass(frozen=True)
class StoredNetwork:
    """Name of a user's network, read from a model folder. It cannot be built: there is no code."""

    name: str


NetworkChoice = str | type[Network] | StoredNetwork
"""A key of NETWORKS, "FILE.py:NAME", a subclass of Network, or the name in a model folder."""


def network_name(choice: NetworkChoice) -> str:
    """Name of a network as a model folder stores it: the key, or the name of the class."""
    if isinstance(choice, StoredNetwork):
        return choice.name
    return choice.rpartition(":")[2] if isinstance(choice, str) else choice.__name__


def check_network(choice: NetworkChoice) -> None:
    """Check the choice of a network; a user's file is not run yet.

    Raises:
        ConfigError: if there is no such network, or its name belongs to a built-in one.
    """
    subclass = isinstance(choice, type) and issubclass(choice, Network)
    in_file = isinstance(choice, str) and ":" in choice
    known = isinstance(choice, StoredNetwork) or subclass or in_file or choice in NETWORKS
    name = network_name(choice) if known else ""
    custom = choice not in NETWORKS
    if not known or (custom and (not name.isidentifier() or name in NETWORKS)):
        raise ConfigError(
            "There is no such network.",
            expected=f"one of {', '.join(NETWORKS)}, FILE.py:NAME, or a subclass of rl_vae.Network "
            "with another name",
            got=repr(choice),
            remedy="choose one of them, such as network='patch'",
        )


def check_buildable(choice: NetworkChoice) -> None:
    """Check that a network can be built as torch modules.

    Raises:
        ConfigError: if the choice was read from a model folder, which holds no code.
    """
    if isinstance(choice, StoredNetwork):
        raise ConfigError(
            f"The network {choice.name} cannot be built from a model folder.",
            expected=f"one of the built-in networks {', '.join(NETWORKS)}",
            got="a network that a user defined; a model folder holds no code",
            remedy=f"encode on the CPU, which needs no code, or name the file: network="
            f"'FILE.py:{choice.name}'",
        )
