"""The command `rl-vae demo` as a file."""

import sys

from rl_vae.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
