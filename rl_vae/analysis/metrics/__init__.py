"""How well a code takes the causes of a picture apart: the metrics of the literature.

Codes are means (N, Z), factors the simulator's state (N, K); everything is computed in float64,
seeded, and comes with an interval. The definitions are those of disentanglement_lib (Locatello et
al. 2019), so that numbers compare with published tables.

    metric             needs          high where                        but also high for
    mig, sap           factors        one latent leads for a factor     latents that hold several
    dci                factors        importances are concentrated      (see its docstring)
    modularity         factors        a latent tells of one factor      noise
    explicitness       factors        factors can be read off           any rotation
    irs                factors        a latent follows one factor       weak second factors
    factor_vae         a sampler      a fixed factor stills a latent    shared latents
    beta_vae           a sampler      pairs tell the shared factor      any rotation
    udr                several seeds  seeds agree                       agreed mixtures
    total_correlation  codes alone    (low:) they are uncorrelated      (low:) whitened noise

Factors that are whole numbers are taken as they are; others are cut at quantiles into at most 20
classes, and every result says how many (`bins`). Constant factors are left out. The factors of a
rollout are correlated: MIG and the others then also measure what the policy did, and intervals, for
which rows count as independent, are too narrow.
"""

from rl_vae.analysis.metrics.agreement import Udr, udr
from rl_vae.analysis.metrics.arrays import Interval
from rl_vae.analysis.metrics.information import (
    Mig,
    Modularity,
    TotalCorrelation,
    mig,
    modularity,
    total_correlation,
)
from rl_vae.analysis.metrics.interventions import (
    BetaVae,
    FactorVae,
    Grid,
    Sampler,
    beta_vae,
    factor_vae,
    tabulate,
)
from rl_vae.analysis.metrics.prediction import Dci, Sap, dci, sap
from rl_vae.analysis.metrics.readout import Explicitness, explicitness
from rl_vae.analysis.metrics.robustness import Irs, irs

__all__ = [
    "BetaVae",
    "Dci",
    "Explicitness",
    "FactorVae",
    "Grid",
    "Interval",
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
