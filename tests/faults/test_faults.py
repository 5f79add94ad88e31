"""Every row of the table of faults, at a size that fits into CI."""

from pathlib import Path

import pytest

from faults import Row
from faults.table import ROWS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_fault_is_survived(row: Row, tmp_path: Path) -> None:
    """However a fault comes, what the table promises holds."""
    figure = row.inject(row.small, 0, tmp_path)
    print(f"{row.name}: {figure.got}")
    assert figure.holds, figure.got
