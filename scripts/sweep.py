"""The command `rl-vae sweep` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["sweep", *sys.argv[1:]])
