"""Networks, the VAE, its folder on disk, and the encoder that serves it."""
