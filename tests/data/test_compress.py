"""Compressed shards: equal frames and digests, damage and bombs refused, interruptions survived."""

import io
import pickle
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import CONFIG, SPEC, collect_counting
from dataset_files import write_dataset
from environments import refused
from folder_files import damaged_paths, flip_bit, flip_random_bits, folder_content, verify

from rl_vae import FrameDataset, TrainConfig, compress_dataset, train_vae
from rl_vae.cli import main
from rl_vae.data import compress
from rl_vae.data.compressed_rows import CompressedRows, write_compressed
from rl_vae.data.concat import ConcatDataset
from rl_vae.data.npy_files import npy_header
from rl_vae.data.shards import shard_path
from rl_vae.errors import DatasetError, FolderError, MissingPackageError
from rl_vae.hub.kinds import KINDS, files_of
from rl_vae.models.folder import read_model

zstandard = pytest.importorskip("zstandard", reason="pip install 'rl-vae[compress]'")
TABLE_FOOT = struct.Struct("<IBI")


@pytest.fixture
def packed(dataset_copy: Path) -> Path:
    """A copy of the shared dataset (320 frames in two shards), compressed."""
    compress_dataset(dataset_copy, progress=False)
    return dataset_copy


def zst(folder: Path, shard: int = 0) -> Path:
    return shard_path(folder, shard) / "frames.npy.zst"


def seekable(parts: list[bytes], sizes: list[int]) -> bytes:
    """A file of these frames of Zstandard, whose table says these sizes."""
    table = b"".join(struct.pack("<II", len(p), s) for p, s in zip(parts, sizes, strict=True))
    table += TABLE_FOOT.pack(len(parts), 0, 0x8F92EAB1)
    return b"".join(parts) + struct.pack("<II", 0x184D2A5E, len(table)) + table


def test_frames_and_digest_stay(packed: Path, dataset: FrameDataset) -> None:
    """Every way to read gives the frames of before; digest and manifest are unchanged."""
    opened, n = FrameDataset.open(packed), len(dataset)
    assert opened.digest == dataset.digest and verify(packed).findings == ()
    assert [p.name for p in sorted(packed.glob("shard-*/frames*"))] == ["frames.npy.zst"] * 2
    assert (packed / "manifest.jsonl").read_bytes() == (
        dataset.path / "manifest.jsonl"
    ).read_bytes()
    rows = np.random.default_rng(0).integers(0, n, 100)
    everything = dataset.frames(np.arange(n))
    for way in (opened, opened.unmapped(), opened.in_memory(), pickle.loads(pickle.dumps(opened))):
        np.testing.assert_array_equal(way.frames(rows), everything[rows])
        np.testing.assert_array_equal(np.stack(list(way)), everything)
        np.testing.assert_array_equal(way[-1], everything[-1])
    np.testing.assert_array_equal(opened.read_shard(1), everything[160:])
    both = ConcatDataset([opened, dataset])
    np.testing.assert_array_equal(both.in_memory().frames(rows), everything[rows])


def test_in_memory_no_shard_is_expanded_again(packed: Path, dataset: FrameDataset) -> None:
    """`in_memory` replaces compressed shards by arrays once, and leaves others alone."""
    loaded = FrameDataset.open(packed).in_memory()
    assert all(type(frames) is np.ndarray for frames in loaded.frame_shards)
    assert loaded.in_memory() is loaded and dataset.in_memory() is dataset


def test_rows_are_taken_as_of_an_array(packed: Path, dataset: FrameDataset) -> None:
    """Integers, slices and arrays of indices select what they select of an array."""
    rows, right = FrameDataset.open(packed).frame_shards[0], dataset.read_shard(0)
    assert isinstance(rows, CompressedRows) and rows.shape == right.shape and len(rows) == 160
    index = np.arange(160)
    for part in (7, -1, slice(None), slice(150, 3, -7), [5, 5, 0], index[:0], index % 2 == 0):
        np.testing.assert_array_equal(rows[part], right[part])
    with pytest.raises(IndexError):
        rows[160]


def test_any_zstandard_program_gives_frames_npy_back(packed: Path, dataset: FrameDataset) -> None:
    """The stream reader of the library, which knows no seek table, gives the bytes of before."""
    with zst(packed).open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert stream.read() == (shard_path(dataset.path, 0) / "frames.npy").read_bytes()


def test_a_frame_larger_than_a_block_is_a_block(tmp_path: Path) -> None:
    """Frames of more than 96 KiB are blocks of one row each."""
    frames = np.random.default_rng(0).integers(0, 9, (3, 256, 256, 3), np.uint8)
    with (tmp_path / "a").open("wb") as file:
        write_compressed(file, frames)
    np.testing.assert_array_equal(CompressedRows(tmp_path, tmp_path / "a", frames.shape)[:], frames)


# ------------------------------------------------------------------ damage


def test_every_flipped_bit_is_found(packed: Path) -> None:
    """Each of 60 single bits of a compressed file is a finding, and reading it gives no frame."""
    for bit in flip_random_bits(zst(packed), 60, seed=0):
        assert damaged_paths(verify(packed)) == ["shard-00000"], bit
        with refused(DatasetError, str(zst(packed)), "--repair"):
            FrameDataset.open(packed).read_shard(0)


def test_a_cut_file_is_refused(packed: Path) -> None:
    """A file that is cut anywhere is refused when the dataset is opened."""
    content = zst(packed).read_bytes()
    for size in (0, 5, 40, len(content) // 2, len(content) - 1):
        zst(packed).write_bytes(content[:size])
        with refused(DatasetError, str(zst(packed)), "--repair"):
            FrameDataset.open(packed)


def _bomb(block: bytes) -> bytes:
    """The header of a frame of Zstandard that says 2 GB, with one compressed block behind it."""
    zeros = zstandard.ZstdCompressor().compress(bytes(2**20))
    return zeros[:4] + b"\xa0" + struct.pack("<I", 2**31) + zeros[9:]


def _other_header(header: bytes) -> bytes:
    return header.replace(b"(160,", b"(161,")


CHANGES: dict[str, Callable[[list[bytes], list[int]], None]] = {
    "a bomb": lambda parts, sizes: parts.__setitem__(1, _bomb(parts[1])),
    "a bomb that the table tells of": lambda parts, sizes: (
        parts.__setitem__(1, _bomb(parts[1])),
        sizes.__setitem__(1, 2**31),
    )[0],
    "zeros without end": lambda parts, sizes: parts.__setitem__(
        1, zstandard.ZstdCompressor(write_content_size=False).compress(bytes(2**28))
    ),
    "a block twice": lambda parts, sizes: parts.__setitem__(1, parts[1] + parts[1]),
    "blocks in another order": lambda parts, sizes: parts.insert(1, parts.pop(2)),
    "a block too few": lambda parts, sizes: (parts.pop(), sizes.pop())[0] and None,
    "a skippable frame": lambda parts, sizes: parts.__setitem__(
        1, struct.pack("<II", 0x184D2A50, sizes[1]) + bytes(sizes[1])
    ),
    "another header": lambda parts, sizes: parts.__setitem__(
        0,
        zstandard.ZstdCompressor().compress(
            _other_header(npy_header((160, *SPEC.shape), np.dtype(np.uint8)))
        ),
    ),
    "no array": lambda parts, sizes: (parts.pop(0), sizes.pop(0))[0] and None,
    "blocks of no rows": lambda parts, sizes: sizes.__setitem__(1, 0),
}


@pytest.mark.usefixtures("limited_memory")
@pytest.mark.parametrize("change", CHANGES)
def test_a_hostile_file_takes_no_memory(packed: Path, change: str) -> None:
    """A file whose blocks or sizes are not those of its shard is refused; no GB is allocated."""
    path, content = zst(packed), zst(packed).read_bytes()
    n = TABLE_FOOT.unpack(content[-TABLE_FOOT.size :])[0]
    table = np.frombuffer(content[-TABLE_FOOT.size - 8 * n : -TABLE_FOOT.size], "<u4").reshape(n, 2)
    ends = np.cumsum(table[:, 0]).tolist()
    parts = [content[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    sizes = table[:, 1].tolist()
    assert seekable(parts, sizes) == content
    CHANGES[change](parts, sizes)
    path.write_bytes(seekable(parts, sizes))
    with refused(DatasetError, str(path), "--repair"):
        FrameDataset.open(packed).verify()


@pytest.mark.usefixtures("limited_memory")
def test_a_giant_file_is_not_read(packed: Path) -> None:
    """A sparse file of a terabyte, also one that ends with a table of it, is refused."""
    content = zst(packed).read_bytes()
    for end in (b"", content[-100:], TABLE_FOOT.pack(2**27, 0, 0x8F92EAB1)):
        with zst(packed).open("r+b") as file:
            file.truncate(2**40)
            file.seek(-len(end), io.SEEK_END)
            file.write(end)
        with refused(DatasetError, str(zst(packed))):
            FrameDataset.open(packed)


def test_a_damaged_shard_is_not_compressed(dataset_copy: Path) -> None:
    """The error names the shard; its file and its folder stay as they are."""
    flip_bit(shard_path(dataset_copy, 0) / "frames.npy", 8_000)
    before = folder_content(dataset_copy)
    with refused(DatasetError, "shard-00000", "is damaged"):
        compress_dataset(dataset_copy, progress=False)
    assert folder_content(dataset_copy) == before


# ------------------------------------------------------------------ interruptions


@pytest.mark.parametrize("moment", ["before the rename", "before the removal"])
def test_an_interrupted_call_is_repeated(
    dataset_copy: Path, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Interrupted in the second shard, everything can be read; the next call finishes."""

    class Killed(BaseException):
        pass

    calls, place = [], "write_compressed" if moment == "before the rename" else "OpenFolder"
    right = getattr(compress, place)

    def second(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise Killed
        return right(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(compress, place, second)
        with pytest.raises(Killed):
            compress_dataset(dataset_copy, progress=False)
    result = verify(dataset_copy)
    assert result.findings == ()
    assert zst(dataset_copy, 1).exists() == bool(result.notes) == (place == "OpenFolder")
    opened = FrameDataset.open(dataset_copy)
    np.testing.assert_array_equal(opened.read_shard(1), dataset.read_shard(1))
    zst(dataset_copy, 1).write_bytes(b"half")  # frames.npy counts
    assert FrameDataset.open(dataset_copy).digest == dataset.digest
    done = compress_dataset(dataset_copy, progress=False)
    assert done.bytes_after < done.bytes_before
    assert len(list(dataset_copy.glob("shard-*/*"))) == 4
    FrameDataset.open(dataset_copy).verify()
    assert compress_dataset(dataset_copy, progress=False).bytes_before == done.bytes_after


def test_a_collection_goes_on(dataset_copy: Path, dataset: FrameDataset) -> None:
    """An unfinished dataset is compressed, and finished with shards that are not compressed."""
    manifest = dataset_copy / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().splitlines(keepends=True)[0])
    compress_dataset(dataset_copy, progress=False)
    again = collect_counting(dataset_copy)
    again.verify()
    assert again.digest == dataset.digest and zst(dataset_copy).exists()
    assert (shard_path(dataset_copy, 1) / "frames.npy").exists()


def test_a_link_is_not_followed(dataset_copy: Path, tmp_path: Path) -> None:
    """A dataset with a shard elsewhere is refused, and nothing is removed there."""
    shutil.move(shard_path(dataset_copy, 0), tmp_path / "elsewhere")
    shard_path(dataset_copy, 0).symlink_to(tmp_path / "elsewhere")
    before = folder_content(tmp_path / "elsewhere")
    with refused(FolderError, "link"):
        compress_dataset(dataset_copy, progress=False)
    assert folder_content(tmp_path / "elsewhere") == before


# ------------------------------------------------------------------ the rest of the library


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize("memory", [1.0, 1e-9])
def test_weights_are_equal(
    packed: Path, dataset: FrameDataset, tmp_path: Path, memory: float
) -> None:
    """A training in memory or in a stream gives the weights that it gives without compression."""
    config = TrainConfig(steps=4, batch_size=32, memory=memory)
    models = []
    for source in (dataset, FrameDataset.open(packed)):
        out = tmp_path / f"model{len(models)}"
        train_vae(source, out, CONFIG, config, progress=False)
        models.append(read_model(out).weights)
    assert all(np.array_equal(models[0][name], models[1][name]) for name in models[0])


def test_the_hub_gets_compressed_shards(packed: Path) -> None:
    """The patterns of a dataset on the hub name its compressed files."""
    names = set(files_of(packed, KINDS["dataset"].files))
    assert {f"shard-0000{k}/frames.npy.zst" for k in range(2)} < names


def test_a_missing_package_is_named(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without zstandard, reading and compressing name the extra, and the file is not damaged."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for act in (FrameDataset.open, compress_dataset):
        with refused(MissingPackageError, "pip install 'rl-vae[compress]'"):
            act(packed)


def test_the_command_prints_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """rl-vae compress tells bytes before and after."""
    write_dataset(tmp_path / "data")
    main(["compress", str(tmp_path / "data")])
    assert "100 frames, 0.3 MB before" in capsys.readouterr().out
