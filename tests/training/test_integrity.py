"""Checks of an interrupted training of a model."""

from pathlib import Path

import pytest
import safetensors.torch
from folder_files import damaged_paths, flip_bit, verify

from rl_vae import verify_folder
from rl_vae.models.state_dict import pack_state
from rl_vae.system import hashing, strict_json
from rl_vae.training import checkpoint


@pytest.mark.parametrize(
    ("n_damaged", "note"), [(0, "from step 20"), (1, "from step 10"), (2, "starts again")]
)
def test_the_notes_say_where_an_interrupted_training_continues(
    tmp_path: Path, n_damaged: int, note: str
) -> None:
    """Damaged checkpoints are findings, and the last note names the newest intact one."""
    folder = tmp_path / "model.partial"
    folder.mkdir()
    best = safetensors.torch.save({})
    (folder / "best.safetensors").write_bytes(best)
    strict_json.append_line(folder / "metrics.jsonl", {"step": 10})
    for name, step in zip(checkpoint.NAMES, (20, 10), strict=True):
        state = {"step": step, "best_sha256": hashing.digest(best)}
        (folder / name).write_bytes(pack_state(state))
    for name in checkpoint.NAMES[:n_damaged]:
        flip_bit(folder / name, 300)
    result = verify(folder)
    assert result == verify_folder(tmp_path / "model", progress=False)
    assert result.kind == "unfinished model"
    assert damaged_paths(result) == sorted(checkpoint.NAMES[:n_damaged])
    assert note in result.notes[-1]
