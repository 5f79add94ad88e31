"""Checks and repairs of the folders that rl_vae writes."""
