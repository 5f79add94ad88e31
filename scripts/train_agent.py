"""The command `rl-vae train-agent` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["train-agent", *sys.argv[1:]])
