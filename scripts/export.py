"""The command `rl-vae export` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
