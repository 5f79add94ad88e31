"""States: what is packed comes out bit for bit, and nothing else does."""

import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from rl_vae.models.state_dict import is_intact, pack_state, unpack_state


def adam() -> torch.optim.Adam:
    """An optimizer of a channels-last convolution, after two updates."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(layer.parameters(), betas=(0.8, 0.99), fused=True)
        for _ in range(2):
            layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
            optimizer.step()
    return optimizer


def test_a_state_comes_back_as_it_was() -> None:
    """Tensors with their bits, types and order in memory, and all around them with its type."""
    tied = torch.arange(6.0)
    state = {
        "optimizer": adam().state_dict(),
        0: [None, True, 1, 2.5, float("inf"), "words", (), {}],
        "tied": [tied, tied],
        "strange": [torch.tensor(3), torch.zeros(0, 2), torch.arange(24).reshape(2, 3, 4).mT],
        "few bits": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
    }
    again = unpack_state(pack_state(state))
    same(state, again)


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        if one.numel():
            as_bytes = [value.contiguous().view(-1).view(torch.uint8) for value in (one, other)]
            assert torch.equal(*as_bytes)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            same(left, right)
    else:
        assert one == other


def test_what_is_no_state_is_not_packed() -> None:
    """Anything that could not come back is refused."""
    with pytest.raises(TypeError, match="Path"):
        pack_state({"where": Path()})


def test_damage_is_found() -> None:
    """A cut, a longer and a flipped file are refused."""
    packed = pack_state(adam().state_dict())
    rng = random.Random(0)
    broken = [packed[:cut] for cut in (0, 31, 32, 33, len(packed) // 2, len(packed) - 1)]
    broken.append(packed + b"\0")
    for _ in range(50):
        flipped = bytearray(packed)
        flipped[rng.randrange(len(packed))] ^= 1 << rng.randrange(8)
        broken.append(bytes(flipped))
    for content in broken:
        assert not is_intact(content)
        with pytest.raises(ValueError, match="SHA-256"):
            unpack_state(content)


def test_no_code_is_run(tmp_path: Path) -> None:
    """A pickle or strange structure with its digest right is refused, unrun."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "mark"),))

    import hashlib

    import safetensors.torch

    def sealed(content: bytes) -> bytes:
        return hashlib.sha256(content).digest() + content

    texts = [b'{"tensor": "5", "order": []}', b'{"os.system": []}', b"[" * 100_000, b"{", b"{}"]
    contents = [pickle.dumps(Payload(), protocol=2)]
    for text in texts:
        structure = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        contents.append(safetensors.torch.save({"structure": structure}))
    for content in contents:
        with pytest.raises(ValueError, match="not a packed state"):
            unpack_state(sealed(content))
    assert not (tmp_path / "mark").exists()
