"""The command `rl-vae classify` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["classify", *sys.argv[1:]])
