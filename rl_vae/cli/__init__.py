"""The command line: `rl-vae COMMAND`, one file per group of commands."""

from rl_vae.errors import MissingPackageError

try:
    from rl_vae.cli.app import COMMANDS, main
except ModuleNotFoundError as error:
    raise MissingPackageError.of(error, "The command line") from error

__all__ = ["COMMANDS", "main"]
