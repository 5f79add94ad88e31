"""VAEConfig: settings of a VAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from rl_vae.constraints import Range, check_fields, check_value
from rl_vae.models.networks import (
    NETWORKS,
    NetworkChoice,
    StoredNetwork,
    check_network,
    network_name,
)
from rl_vae.objectives.likelihood_names import Likelihood

MIN_SIGMA = 1 / 255
"""A learned sigma stays above this value: pixels have a resolution of 1 / 255."""


@dataclass(frozen=True)
class VAEConfig:
    """Settings of a VAE.

    Raises:
        ConfigError: if a value has another type or is out of its range.
    """

    latent_dim: Annotated[int, Range(low=1, high=4096)] = 32
    """Number of latents, Z."""
    network: NetworkChoice = "patch"
    """"patch" (fast on a CPU), "narrow" (half its width, for pictures as plain as Pong's), "small"
    (for frames of about 32 x 32 pixels), "world_models", "burgess", "mlp" (one hidden layer of 400
    units), "linear" (no hidden layer), or a network of your own: a subclass of `rl_vae.Network`, or
    "FILE.py:NAME" of one; the file is run when the network is built."""
    likelihood: Likelihood = "gaussian"
    """Distribution of a pixel under the decoder: "gaussian", "learned_gaussian" or "bernoulli".
    With "bernoulli" the posterior can collapse if colours are similar, as in Pong."""
    sigma: Annotated[float, Range(above=0)] = 0.1
    """Standard deviation of the Gaussian likelihood, in units of the pixel range [0, 1]. A learned
    sigma (one number for all pixels) starts at this value, above 1 / 255."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_network(self.network)
        if self.likelihood == "learned_gaussian":
            check_value("sigma", self.sigma, Annotated[float, Range(above=MIN_SIGMA)], 0.1)

    @property
    def network_name(self) -> str:
        """Name of the network: a key of NETWORKS, or the name of a user's class."""
        return network_name(self.network)

    @property
    def has_own_network(self) -> bool:
        """Whether the network is a user's."""
        return self.network_name not in NETWORKS

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VAEConfig:
        """Read what `to_dict` wrote; the name of a user's network becomes a `StoredNetwork`.

        Raises:
            ConfigError, TypeError, KeyError: if the values are not those of a VAEConfig.
        """
        if set(values) != set(cls.__dataclass_fields__):
            raise KeyError(f"vae has the fields {sorted(values)}")
        name = values["network"]
        if isinstance(name, str) and name not in NETWORKS:
            name = StoredNetwork(name)
        return cls(**{**values, "network": name})

    def to_dict(self) -> dict[str, Any]:
        """JSON values; the network is its name."""
        return {
            "latent_dim": self.latent_dim,
            "network": self.network_name,
            "likelihood": self.likelihood,
            "sigma": self.sigma,
        }
