"""The command `rl-vae evaluate` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
