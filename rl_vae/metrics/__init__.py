"""Metrics of disentanglement for plain arrays: codes (N, Z) and factors (N, K)."""

from rl_vae.metrics.beta_vae import BetaVae, beta_vae
from rl_vae.metrics.dci import Dci, dci
from rl_vae.metrics.explicitness import Explicitness, explicitness
from rl_vae.metrics.factor_vae import FactorVae, factor_vae
from rl_vae.metrics.irs import Irs, irs
from rl_vae.metrics.mig import Mig, mig
from rl_vae.metrics.modularity import Modularity, modularity
from rl_vae.metrics.sampler import Grid, Sampler, tabulate
from rl_vae.metrics.sap import Sap, sap
from rl_vae.metrics.total_correlation import TotalCorrelation, total_correlation
from rl_vae.metrics.udr import Udr, udr

__all__ = [
    "BetaVae",
    "Dci",
    "Explicitness",
    "FactorVae",
    "Grid",
    "Irs",
    "Mig",
    "Modularity",
    "Sampler",
    "Sap",
    "TotalCorrelation",
    "Udr",
    "beta_vae",
    "dci",
    "explicitness",
    "factor_vae",
    "irs",
    "mig",
    "modularity",
    "sap",
    "tabulate",
    "total_correlation",
    "udr",
]
