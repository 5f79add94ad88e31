"""The faults of the table, with few trials; the rows that the documents name."""

import re
from pathlib import Path

import pytest

from faults import Row
from faults.folders import NOT_FUZZED, fuzzed_commands
from faults.named_tests import NamedTests
from faults.table import ROWS
from rl_vae.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in ROWS if row.small], ids=lambda row: row.name)
def test_a_fault_is_survived(row: Row, tmp_path: Path) -> None:
    """The result of the fault is as expected."""
    figure = row.inject(row.small, 0, tmp_path)
    assert figure.holds, figure.got


def test_rows_name_tests_that_exist() -> None:
    """Each test that a row names is in the suite."""
    ids = [one for row in ROWS if isinstance(row.inject, NamedTests) for one in row.inject.ids]
    for one in ids:
        file, _, test = one.partition("::")
        content = (ROOT / "tests" / file).read_text()
        assert not test or f"def {test}(" in content, one


def test_every_command_gets_a_hostile_folder(tmp_path: Path) -> None:
    """A new command is fuzzed, or is named with the reason why not."""
    fuzzed = fuzzed_commands(tmp_path)
    assert fuzzed | set(NOT_FUZZED) == set(COMMANDS) and not fuzzed & set(NOT_FUZZED)


@pytest.mark.slow
def test_a_row_of_named_tests_fails_with_its_tests(tmp_path: Path) -> None:
    """A row of tests that pass holds. A test that fails, is skipped or is missing does not hold."""
    results = {"passes": "pass", "fails": "assert 0", "skips": "pytest.skip('no')"}
    tests = [f"def test_{name}():\n    {body}\n" for name, body in results.items()]
    file = tmp_path / "test_three.py"
    file.write_text("import pytest\n" + "".join(tests))
    for name, holds in {"passes": True, "fails": False, "skips": False, "lost": False}.items():
        figure = NamedTests((f"{file}::test_{name}",))(1, 0, tmp_path)
        assert figure.holds is holds, figure.got


def test_documents_name_rows_of_the_table() -> None:
    """Each row that a guarantee or SECURITY.md names is in the table, and so is each test file."""
    names = {row.name for row in ROWS}
    guarantees = (ROOT / "docs" / "guarantees.md").read_text()
    table = guarantees.partition("rows of `make faults`")[2].partition("Measured")[0]
    for line in re.findall(r"^\| .* \| (.*) \|$", table, re.MULTILINE):
        named = [part.strip() for part in line.split(";")]
        assert {part for part in named if part != "also `make fuzz`"} <= names, line
    security = (ROOT / "SECURITY.md").read_text()
    for rows in re.findall(r"\(Rows? ([^)]*)\)", security):
        assert set(re.findall(r'"([^"]+)"', rows)) <= names, rows
    assert not [
        name for name in re.findall(r"tests/\S+\.py", security) if not (ROOT / name).exists()
    ]
