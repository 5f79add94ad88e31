"""The command line: `rl-vae COMMAND`, one file per group of commands."""

from rl_vae.cli.app import COMMANDS, main

__all__ = ["COMMANDS", "main"]
