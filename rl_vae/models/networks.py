"""Registry of networks: by name, by class, and from a user's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rl_vae.errors import ConfigError
from rl_vae.models.convolutional import Conv, ConvNetwork
from rl_vae.models.network import Network
from rl_vae.system.user_code import load_name

NETWORKS: dict[str, Network] = {
    # The default. A first layer of 8 x 8 patches leaves a sixteenth of the pixels to the other
    # layers. It is centred on the mean frame: if most of a frame never changes, as in CartPole,
    # the constant part otherwise dominates the loss and the posterior collapses.
    "patch": ConvNetwork(
        (Conv(32, 8, 4, 2), Conv(64, 4, 2, 1), Conv(128, 4, 2, 1)),
        (256,),
        (256,),
        128,
        (Conv(64, 4, 2, 1), Conv(32, 4, 2, 1), Conv(0, 8, 4, 2)),
        centred=True,
    ),
    # Ha & Schmidhuber 2018, World Models, appendix A.1.
    "world_models": ConvNetwork(
        (Conv(32, 4, 2, 0), Conv(64, 4, 2, 0), Conv(128, 4, 2, 0), Conv(256, 4, 2, 0)),
        (),
        (),
        1024,
        (Conv(128, 5, 2, 0), Conv(64, 5, 2, 0), Conv(32, 6, 2, 0), Conv(0, 6, 2, 0)),
    ),
    # Burgess et al. 2018, Understanding disentangling in beta-VAE, appendix A.
    "burgess": ConvNetwork(
        (Conv(32, 4, 2, 1),) * 4,
        (256, 256),
        (256, 256),
        32,
        (Conv(32, 4, 2, 1), Conv(32, 4, 2, 1), Conv(32, 4, 2, 1), Conv(0, 4, 2, 1)),
    ),
    # One hidden layer in encoder and decoder, as in Kingma & Welling 2014, appendix C, with ReLUs.
    # On 28 x 28 grayscale frames and with 20 latents it is 784-400-20-400-784.
    "mlp": ConvNetwork((), (400,), (400,), 0, ()),
    # One matrix in encoder and decoder, centred: PCA is written as this network
    # (rl_vae.training.baselines).
    "linear": ConvNetwork((), (), (), 0, (), centred=True),
}
"""Built-in networks by name."""


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


def find_network(choice: NetworkChoice) -> Network:
    """Return the network of a choice; this runs a user's file.

    Raises:
        ConfigError: if the file does not define it, or the choice was read from a model folder.
    """
    if isinstance(choice, StoredNetwork):
        raise ConfigError(
            f"The network {choice.name} cannot be built from a model folder.",
            expected=f"one of the built-in networks {', '.join(NETWORKS)}",
            got="a network that a user defined; a model folder holds no code",
            remedy=f"encode on the CPU, which needs no code, or name the file: network="
            f"'FILE.py:{choice.name}'",
        )
    value: Any = choice
    if isinstance(choice, str):
        if choice in NETWORKS:
            return NETWORKS[choice]
        file, _, name = choice.rpartition(":")
        value = load_name(file, name, "a subclass of rl_vae.Network")
    if not (isinstance(value, type) and issubclass(value, Network)):
        raise ConfigError(
            f"{choice} is not a network.",
            expected="a subclass of rl_vae.Network",
            got=repr(value),
            remedy="correct the name or the file",
        )
    return value()
