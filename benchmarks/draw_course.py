"""Draw the pictures of docs/course.md: run its commands and programs, and copy what they draw.

Takes about three minutes on two cores. A command that was run before is not run again.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "course.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "course")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    text = PAGE.read_text()
    code = re.compile(r"^```python\n((?s:.*?))^```|^    ((?:rl-vae|python) .*)$", re.MULTILINE)
    for block in code.finditer(text):
        run(folder, block[1], block[2])
    pictures = ROOT / "docs" / "course"
    pictures.mkdir(exist_ok=True)
    for name in re.findall(r"\(course/([\w-]+)\.png\)", text):
        # A palette of 256 colours: a third of the size, and the same picture to the eye
        picture = Image.open(folder / "pictures" / (name.replace("-", "/") + ".png"))
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(pictures / f"{name}.png", optimize=True)


def run(folder: Path, program: str | None, line: str | None) -> None:
    """Run a Python program, or a command line, in a folder."""
    if line is None:
        arguments = ["-c", program or ""]
    elif line.startswith("rl-vae"):
        arguments = ["-m", "rl_vae.cli", *line.split()[1:]]
    else:
        arguments = [str(ROOT / line.split()[1])]
    print(line or "a program", flush=True)
    paths = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, env=os.environ | paths)


if __name__ == "__main__":
    main()
