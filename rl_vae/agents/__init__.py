"""Agents on latents: recipes, training, evaluation, export, baseline agents."""
