"""Training objectives of a VAE: the interface, one file per objective, likelihoods, divergences."""
