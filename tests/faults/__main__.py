"""Inject every fault of the table and print one line per row.

The exit status is 1 if the result of a row is not as expected.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run the rows and print the table."""
    # Imported here, because every process that a row starts imports this file.
    from faults.table import ROWS
    from rl_vae.system.process_settings import configure_process
    from rl_vae.system.provenance import write_figures

    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--full", action="store_true", help="all trials of the table")
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="only rows whose name has these words"
    )
    parser.add_argument(
        "--but",
        action="append",
        default=[],
        metavar="WORDS",
        help="skip rows whose name has these words",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="folder for the files, deleted at the end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures")
    arguments = parser.parse_args()
    configure_process()
    # A background job of a shell ignores Ctrl-C, and its child processes would, too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    figures: dict[str, float] = {}
    failed, began = 0, time.perf_counter()
    chosen = [row for row in ROWS if arguments.only in row.name]
    for row in chosen:
        if any(words in row.name for words in arguments.but):
            continue
        folder, start = Path(tempfile.mkdtemp(dir=arguments.folder)), time.perf_counter()
        try:
            figure = row.inject(row.full if arguments.full else row.small, arguments.seed, folder)
            got, holds = figure.got, figure.holds
            holds &= figure.seconds <= row.most_seconds or not arguments.full
            numbers = {**figure.numbers, "holds": holds}
        except Exception as error:  # a row that fails does not stop the others
            got, holds, numbers = f"{type(error).__name__}: {error}", False, {"holds": 0.0}
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        failed += not holds
        key = "_".join(row.name.replace(",", "").replace("(", "").replace(")", "").split())
        figures |= {f"{key}_{name}": float(value) for name, value in numbers.items()}
        state = "holds" if holds else f"FAILS, expected {row.expected}"
        took = time.perf_counter() - start
        print(f"{row.name:38} {got} [{state}, {took:.0f} s]", flush=True)
    figures |= {"rows": len(chosen), "failed": failed}
    print(f"{failed} rows fail; {time.perf_counter() - began:.0f} s")
    if arguments.json:
        write_figures(arguments.json, figures, [arguments.seed])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
