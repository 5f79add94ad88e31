"""The tests of models use torch's exporter every time."""

from collections.abc import Iterator

import pytest
import quick_exports


@pytest.fixture(autouse=True)
def real_exports() -> Iterator[None]:
    """rl_vae exports as it does for a user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_vae.models.save.export_graph", quick_exports.export_graph)
        yield
