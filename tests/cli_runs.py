"""Running a command of rl-vae in this process."""

from rl_vae.cli import main


def run(*arguments: object) -> int:
    """Run a command here; returns its exit status."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
    return 0
