"""What a VAE minimises: one objective per file, likelihoods, divergences."""
