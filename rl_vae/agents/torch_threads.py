"""Number of torch's threads: one while an agent trains, because threads spin while they wait.

A small MLP gains a third from a second idle core, but runs 5 to 20 times slower on a core that
environments use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let torch compute with a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
