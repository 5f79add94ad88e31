"""Runs the command line as `python -m rl_vae.cli`, for torchrun."""

from rl_vae.cli.app import main

main()
