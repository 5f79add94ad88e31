"""Every fault of the table, with few trials."""

from pathlib import Path

import pytest

from faults import Row
from faults.table import ROWS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_fault_is_survived(row: Row, tmp_path: Path) -> None:
    """The result of the fault is as expected."""
    figure = row.inject(row.small, 0, tmp_path)
    assert figure.holds, figure.got
