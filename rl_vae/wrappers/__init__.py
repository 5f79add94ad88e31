"""Latents as observations: Gymnasium wrappers and what they are built from."""
