"""The program rl-vae: finds the command, parses its flags, runs it, reports errors.

Exit status: 0 done; 2 a mistake of the user or a damaged file, reported in one line; 130 or 143
stopped by Ctrl-C or SIGTERM, with everything saved that had been acknowledged.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import tyro

import rl_vae
from rl_vae.cli.command import Command
from rl_vae.constraints import check_fields
from rl_vae.errors import (
    ConfigError,
    MissingPackageError,
    RlVaeError,
    printable,
    system_failure,
    system_remedy,
)
from rl_vae.system.outputs import output_path
from rl_vae.system.process_settings import configure_process, limit_threads
from rl_vae.system.provenance import machine, package_versions
from rl_vae.system.signals import Terminated, print_once, stoppable
from rl_vae.system.standard_streams import (
    flush_output,
    lost_reader,
    open_standard_streams,
    print_error,
)


class Entry(NamedTuple):
    """A command and where its class is."""

    module: str
    """Module in rl_vae.cli; it is imported when the command is called."""
    name: str
    """Class in the module."""
    summary: str
    """What it does, without a full stop."""
    resumes: bool = False
    """Whether the same command goes on with interrupted work."""


COMMANDS = {
    "collect": Entry("data", "Collect", "Collect frames of an environment into a folder", True),
    "import": Entry("datasets", "Import", "Import pictures, videos or arrays into a folder", True),
    "inspect": Entry("datasets", "Inspect", "Say what a dataset holds"),
    "preview": Entry("datasets", "Preview", "Write frames of a dataset as a video"),
    "merge": Entry("datasets", "Merge", "Copy several datasets into one", True),
    "compress": Entry("datasets", "Compress", "Compress a dataset in place, without loss", True),
    "export-data": Entry("datasets", "ExportData", "Write a dataset in another format"),
    "train-vae": Entry("train_vae", "TrainVAE", "Train a VAE on a dataset", True),
    "sweep": Entry("models", "Sweep", "Train a beta-VAE for each beta and each seed", True),
    "show": Entry("models", "Show", "Draw what a model can do"),
    "classify": Entry("models", "Classify", "Train a classifier on a model's code"),
    "score": Entry("models", "Score", "Measure what a model's code holds"),
    "train-agent": Entry("agents", "TrainAgent", "Train an SB3 agent on latents", True),
    "evolve-agent": Entry(
        "agents", "EvolveAgent", "Evolve the output layer of an agent without noise", True
    ),
    "evaluate": Entry("agents", "Evaluate", "Let an agent play episodes of unseen seeds"),
    "compare": Entry(
        "comparison", "Compare", "Compare betas and baselines by scores and return", True
    ),
    "tune": Entry("tuning", "Tune", "Search for settings of a code and its agent", True),
    "report": Entry("comparison", "Report", "Write one HTML page on models side by side"),
    "export": Entry("deploy", "Export", "Write an agent or an encoder as one ONNX file"),
    "bench": Entry("deploy", "Bench", "Measure how long an encoder takes on this machine"),
    "push": Entry("sharing", "Push", "Upload a folder to the Hugging Face hub"),
    "pull": Entry("sharing", "Pull", "Download a folder from the Hugging Face hub", True),
    "status": Entry("status", "Status", "Say how far the work in a folder is"),
    "verify": Entry("folders", "Verify", "Check every byte of a folder, and repair it"),
    "demo": Entry("demo", "DemoCommand", "Train a car to drive, from nothing, and show it", True),
}


_READER_GONE = 141
"""Exit status if the program that reads the output has ended, as if SIGPIPE had ended this one."""
_LEAST_COLUMNS = 40
"""Width of a terminal from which on text is set in columns."""

OUTPUTS = ("out", "json", "video")
"""Flags that name a file or folder to write."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with its status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    open_standard_streams()
    configure_process()
    if shutil.get_terminal_size().columns < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)  # with less, tyro's help takes minutes
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for ids such as my_game:MyGame-v0
    entry = COMMANDS.get(arguments[0] if arguments else "")
    resumes = "goes on where it stopped" if entry and entry.resumes else "starts anew"
    message = f"rl-vae: stopped; the same command {resumes}"
    with stoppable(message):
        try:
            try:
                status = _run(arguments)
            finally:
                flush_output()
        except RlVaeError as error:
            print_error(f"rl-vae: {error}")
            sys.exit(2)
        except ImportError as error:  # of a library that loads late
            print_error(f"rl-vae: {MissingPackageError.of(error, f'rl-vae {arguments[0]}')}")
            sys.exit(2)
        except (OSError, MemoryError) as error:  # a full disk, too little memory
            if lost_reader(error):
                sys.exit(_READER_GONE)
            remedy = system_remedy(error, "check the path")
            text = printable(error) or "too little memory"
            if isinstance(error, OSError) and error.filename is None:
                text += ", of a file without a name, such as the output of this command"
            print_error(f"rl-vae: {type(error).__name__}: {text}. Remedy: {remedy}.")
            sys.exit(2)
        except RuntimeError as error:
            if system_failure(error) is None:
                raise
            remedy = system_remedy(error, "")
            print_error(f"rl-vae: too little memory: {printable(error)}. Remedy: {remedy}.")
            sys.exit(2)
        except (KeyboardInterrupt, Terminated) as stop:
            print_once(message)
            # Python remembers an interrupt that left code in a string, as in a dataclass that is
            # being made, and would end by SIGINT after all; the next string makes it forget.
            exec("")
            sys.exit(143 if isinstance(stop, Terminated) else 130)
    if status:
        sys.exit(status)


def _run(arguments: Sequence[str]) -> int | None:
    """Run the command that the arguments name."""
    if not arguments:
        print(_help(), file=sys.stderr)
        return 2
    if arguments[0] in ("-h", "--help"):
        print(_help())
        return None
    if arguments[0] in ("-V", "--version"):
        print(_version())
        return None
    name, rest = arguments[0], arguments[1:]
    command = _parse(name, rest)
    if command.threads is not None:
        limit_threads(command.threads)
    return command.run()


def _parse(name: str, arguments: Sequence[str]) -> Command:
    """The command with its flags.

    Raises:
        ConfigError: if there is no such command, or a flag is out of its range.
        MissingPackageError: if a package that the command needs is not installed.
    """
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        raise ConfigError(
            f"There is no command {name!r}.",
            expected=f"one of {', '.join(COMMANDS)}",
            got=repr(name),
            remedy=f"type rl-vae {near[0]}" if near else "see rl-vae --help",
        )
    entry = COMMANDS[name]
    try:
        module = importlib.import_module(f"rl_vae.cli.{entry.module}")
    except MissingPackageError:
        raise
    except ImportError as error:
        raise MissingPackageError.of(error, f"rl-vae {name}") from error
    kind: Any = getattr(module, entry.name).for_arguments(arguments)
    command: Command = tyro.cli(
        kind,
        prog=f"rl-vae {name}",
        description=f"{entry.summary}.\n\n{kind.__doc__ or ''}",
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    check_fields(command)
    for flag in OUTPUTS:
        if getattr(command, flag, None) is not None:
            setattr(command, flag, output_path(getattr(command, flag)))
    return command


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {entry.summary}" for name, entry in COMMANDS.items()]
    return "\n".join(
        [
            "usage: rl-vae COMMAND ...",
            "",
            "Compress an environment's frames once; learn from the code.",
            "",
            *lines,
            "",
            "rl-vae COMMAND --help shows the flags of a command; rl-vae --version the versions.",
        ]
    )


def _version() -> str:
    """Versions, the processor and the engines that are installed: what an issue should tell."""
    computer = machine()
    engines = ["gymnasium", *(["envpool"] if importlib.util.find_spec("envpool") else [])]
    lines = [f"rl-vae {rl_vae.__version__}"]
    lines += [f"{name} {v}" for name, v in package_versions().items() if name != "rl-vae"]
    lines += [
        f"processor {computer['processor']}, {computer['cores']} cores, {computer['system']}",
        f"engines {', '.join(engines)}",
    ]
    return "\n  ".join(lines)
