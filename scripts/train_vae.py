"""The command `rl-vae train-vae` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["train-vae", *sys.argv[1:]])
