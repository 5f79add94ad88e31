"""The adapter checker: all cases pass, and it finds the faults that wrappers can have."""

from typing import Any

import numpy as np
import pytest

from rl_vae import Encoder
from rl_vae.sb3.adapter_checker import ADAPTERS, all_cases, check_case, format_table
from rl_vae.sb3.counting_env import ACTION_SPACES
from rl_vae.sb3.expected_observations import TOLERANCE, Case
from rl_vae.wrappers.codes import Codes
from rl_vae.wrappers.history import History
from rl_vae.wrappers.pipeline import LatentPipeline


def test_all_combinations_are_checked() -> None:
    """5 wrappers and modes x 3 observations x 2 endings x 2 stacks x 2 numbers of actions, and each
    wrapper and mode with dropped extras, with the other action spaces and, in Gymnasium, with a
    Tuple and a nested Dict."""
    cases = all_cases()
    others = 5 + 5 * (len(ACTION_SPACES) - 1) + 4 * 2
    assert len(set(cases)) == len(cases) == 5 * 3 * 2 * 2 * 2 + others
    assert {(case.stack, case.actions) for case in cases} == {(1, 0), (1, 2), (4, 0), (4, 2)}


@pytest.mark.slow
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: "-".join(map(str, case)))
def test_every_case_passes(encoder: Encoder, case: Case) -> None:
    """Every latent, terminal ones included, is that of the true image within 1e-6; nothing leaks
    from one episode into the next."""
    result = check_case(case, encoder)
    assert result.max_error <= TOLERANCE
    assert result.leaks == 0
    assert result.final_observations >= 2
    assert result.passed
    table = format_table({case: result})
    assert f"{case.adapter:24}" in table and "pass" in table and "FAIL" not in table


FAULTS: dict[str, tuple[Any, str, Any]] = {
    "stacks are not restarted": (
        History,
        "restart",
        lambda right: (
            lambda self, envs, codes: right(self, envs, codes) if not self._codes.any() else None
        ),
    ),
    "past actions are not cleared": (
        History,
        "restart",
        lambda right: lambda self, envs, codes: self._codes.__setitem__(envs, codes[:, None]),
    ),
    "reset steps count as steps": (
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
        lambda right: lambda self, frames, envs: right(self, frames[..., ::-1], envs),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("adapter", ADAPTERS, ids="-".join)
def test_faults_are_found(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, fault: str, adapter: tuple[str, str]
) -> None:
    """A wrapper that mixes episodes, keeps ignored actions or swaps colours fails."""
    kind, name, wrong = FAULTS[fault]
    case = Case(*adapter, "image", "truncated", 4, 2)
    monkeypatch.setattr(kind, name, wrong(getattr(kind, name)))
    result = check_case(case, encoder)
    if fault == "reset steps count as steps" and case.autoreset != "NEXT_STEP":
        assert result.passed  # only NEXT_STEP has such steps
        return
    assert not result.passed
    assert result.max_error > 100 * TOLERANCE
    assert "FAIL" in format_table({case: result})
    assert result.leaks > 0 or fault == "colours are swapped"
    assert np.isfinite(result.max_error)
