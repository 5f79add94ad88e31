"""Rows whose faults are injected by tests of the suite, which `make faults` runs by name."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from faults import Figure, Row, counted

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class NamedTests:
    """Runs tests in a process of its own. All must pass; a test that is skipped does not."""

    ids: tuple[str, ...]
    """Files or tests in tests/, such as "envs/test_factors.py::test_name"."""

    def __call__(self, n: int, seed: int, folder: Path) -> Figure:
        """Run the tests and count those that passed."""
        report = folder / "report.xml"
        names = [str(ROOT / "tests" / one) for one in self.ids]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, f"--junitxml={report}", *names], cwd=ROOT, capture_output=True, text=True
        )
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
        passed = [case for case in cases if not {part.tag for part in case} & _NOT_PASSED]
        figure = counted(len(passed), len(cases), "tests")
        holds = figure.holds and done.returncode == 0 and bool(cases)
        end = "" if holds else f"; pytest: {(done.stdout + done.stderr).strip()[-300:]}"
        return figure._replace(got=figure.got + end, holds=holds)


_NOT_PASSED = {"failure", "error", "skipped"}


def row(name: str, *ids: str) -> Row:
    """A row of named tests. The suite has the tests, so it does not run the row."""
    return Row(name, NamedTests(ids), "all tests pass", 0, 1)


ROWS = (
    row(
        "environment reuses its array",
        "envs/test_pixels.py::test_engines_return_new_arrays",
    ),
    row(
        "environment carries state across resets",
        "data/test_shard_envs.py::test_state_that_an_environment_carries_belongs_to_its_shard",
    ),
    row(
        "seed does not determine an environment",
        "data/test_shard_envs.py::test_an_environment_that_its_seed_does_not_determine_is_named",
    ),
    row(
        "encoder is trained again meanwhile",
        "agents/test_train.py::test_a_changed_model_folder_does_not_change_the_agent",
    ),
    row(
        "a library writes nothing",
        "models/test_pictures.py::test_an_incomplete_film_is_an_error",
        "system/test_files.py::test_a_library_that_writes_nothing_is_noticed",
    ),
    row(
        "thread that started a worker ends",
        "system/test_worker_ends.py::test_a_worker_survives_the_thread_that_started_it",
    ),
    row(
        "worker forks, then ends",
        "system/test_processes.py::test_an_end_is_noticed_although_a_forked_process_lives",
    ),
    row(
        "id known to the parent only",
        "envs/test_source.py::test_a_worker_has_the_registrations_of_this_process",
    ),
    row(
        "episode without an end",
        "sb3/test_play.py::test_episodes_that_do_not_end_are_cut_and_counted",
    ),
    row(
        "file without a bound",
        "system/test_reading.py::test_reads_are_bounded",
        "system/test_described_folder.py::test_a_giant_file_is_not_read",
        "system/test_strict_json.py::test_a_log_is_read_within_bounds",
    ),
    row(
        "name that cannot be stored",
        "agents/test_train.py::test_what_cannot_be_trained_is_refused_before_anything_is_written",
        "system/test_outputs.py::test_an_impossible_output_is_refused",
        "system/test_reading.py::test_a_link_loop_or_an_impossible_name_is_no_file",
    ),
    row(
        "exit in a step",
        "system/test_worker_ends.py::test_environments_are_closed_in_every_worker",
        "system/test_worker_ends.py::test_an_exit_of_the_process_is_a_fault",
        "system/test_worker_ends.py::test_an_exit_of_compiled_code_is_a_fault",
    ),
    row(
        "working directory changes",
        "system/test_outputs.py::test_an_output_does_not_depend_on_the_working_directory",
        "agents/test_train.py::test_a_changed_working_directory_does_not_move_the_agent",
    ),
    row("text that acts", "system/test_text.py"),
    row("close() raises or hangs", "envs/test_in_process.py"),
    row(
        "class named like one of ours",
        "envs/test_factors.py::test_a_class_is_known_by_its_module_and_name",
    ),
    row(
        "images of a stranger's size",
        "agents/test_export.py::test_images_of_a_stranger_are_not_allocated",
        "agents/test_export.py::test_images_too_large_for_a_graph_are_refused",
    ),
    row(
        "signed but strange checkpoint",
        "agents/test_checkpoint.py::test_signed_but_strange_checkpoints",
    ),
    row(
        "files that a killed writer left",
        "system/test_files.py::test_leftovers_of_killed_writers_are_deleted",
        "system/test_files.py::test_what_a_killed_writer_left_is_deleted_by_the_next_one",
    ),
    row(
        "argument of a wrong type",
        "test_constraints.py",
        "training/test_config.py::test_impossible_settings_are_refused",
    ),
    row("training diverges", "agents/test_train.py::test_a_training_that_diverges_says_so"),
    row(
        "graph with another number of rows",
        "models/test_folder.py::test_a_graph_that_gives_another_number_of_rows_is_refused",
    ),
    row(
        "too few descriptors, too little memory",
        "test_errors.py::test_the_remedy_follows_the_failure",
        "cli/test_cli.py::test_too_little_memory_is_told_in_a_line",
        "data/test_integrity.py::test_a_shard_that_could_not_be_read_is_not_damaged",
    ),
    row("closed streams, ASCII terminal", "system/test_standard_streams.py"),
    row(
        "numbers without an interval",
        "system/test_estimate.py::test_numbers_whose_squares_overflow_have_an_interval",
        "cli/test_cli.py::test_one_episode_is_evaluated_without_an_interval",
    ),
    row("no POSIX", "system/test_portability.py", "install/test_serving.py"),
)
