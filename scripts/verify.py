"""The command `rl-vae verify` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["verify", *sys.argv[1:]])
