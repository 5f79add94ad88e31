"""find_network: the builder of a network, by name, by class or from a user's file."""

from __future__ import annotations

from typing import Any

from rl_vae.errors import ConfigError
from rl_vae.models.convolutional import ConvNetwork
from rl_vae.models.network import Network
from rl_vae.models.networks import NETWORKS, NetworkChoice, check_buildable
from rl_vae.system.user_code import load_name


def find_network(choice: NetworkChoice) -> Network:
    """Return the network of a choice; this runs a user's file.

    Raises:
        ConfigError: if the file does not define it, or the choice was read from a model folder.
    """
    check_buildable(choice)
    value: Any = choice
    if isinstance(choice, str):
        if choice in NETWORKS:
            return ConvNetwork(NETWORKS[choice])
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
