"""Names of the likelihoods of `rl_vae.objectives.likelihoods`; nothing here needs torch."""

from typing import Literal

Likelihood = Literal["bernoulli", "gaussian", "learned_gaussian"]
