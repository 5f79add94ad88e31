"""The conformance matrix, and whether it would find the faults that adapters have."""

from typing import Any

import numpy as np
import pytest

from rl_vae import Encoder
from rl_vae.sb3 import adapter_checker as conformance
from rl_vae.sb3.adapter_checker import TOLERANCE, Cell, cells, check, table
from rl_vae.wrappers.codes import Codes
from rl_vae.wrappers.history import History
from rl_vae.wrappers.pipeline import LatentPipeline


def test_the_matrix_is_whole() -> None:
    """3 adapters x their modes x 3 spaces x 2 ends x 2 stacks x 2 numbers of actions."""
    assert len(set(cells())) == (1 + 3 + 1) * 3 * 2 * 2 * 2
    assert {(cell.stack, cell.actions) for cell in cells()} == {(1, 0), (1, 2), (4, 0), (4, 2)}


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: "-".join(map(str, cell)))
def test_agents_see_what_they_should(encoder: Encoder, cell: Cell) -> None:
    """Every latent and every terminal latent is encode(true frame) within 1e-6; nothing else is
    remembered, and no transition is made up."""
    found = check(cell, encoder)
    assert found.error <= TOLERANCE
    assert found.ghosts == 0
    assert found.finals >= 2
    assert found.passed
    assert f"{cell.adapter:24}" in table({cell: found}) and "FAIL" not in table({cell: found})


FAULTS: dict[str, tuple[Any, str, Any]] = {
    "stacks go on": (
        History,
        "restart",
        lambda right: (
            lambda self, envs, codes: right(self, envs, codes) if not self._codes.any() else None
        ),
    ),
    "past actions go on": (
        History,
        "restart",
        lambda right: lambda self, envs, codes: self._codes.__setitem__(envs, codes[:, None]),
    ),
    "ghost steps are steps": (
        LatentPipeline,
        "step",
        lambda right: (
            lambda self, raw, actions, **more: right(
                self, raw, actions, **{**more, "is_first": None}
            )
        ),
    ),
    "colours are swapped": (
        Codes,
        "encode",
        lambda right: lambda self, frames, lanes: right(self, frames[..., ::-1], lanes),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("adapter", conformance.ADAPTERS, ids="-".join)
def test_faults_are_found(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, fault: str, adapter: tuple[str, str]
) -> None:
    """An adapter that mixes episodes, remembers ignored actions or swaps colours fails."""
    kind, name, wrong = FAULTS[fault]
    cell = Cell(*adapter, "Box", "truncated", 4, 2)
    monkeypatch.setattr(kind, name, wrong(getattr(kind, name)))
    found = check(cell, encoder)
    if fault == "ghost steps are steps" and adapter[1] != "NEXT_STEP":
        assert found.passed  # only there are such steps
        return
    assert not found.passed
    assert found.error > 100 * TOLERANCE
    assert "FAIL" in table({cell: found})
    assert (found.ghosts > 0) or fault == "colours are swapped"
    assert np.isfinite(found.error)
