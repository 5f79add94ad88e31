"""Environments that give pixels: opening, seeds, simulator state, vector environments."""
