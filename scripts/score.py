"""The command `rl-vae score` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["score", *sys.argv[1:]])
