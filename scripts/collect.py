"""The command `rl-vae collect` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["collect", *sys.argv[1:]])
