"""The command `rl-vae report` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
