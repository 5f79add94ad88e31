"""The command `rl-vae compare` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["compare", *sys.argv[1:]])
