"""The command `rl-vae show` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["show", *sys.argv[1:]])
