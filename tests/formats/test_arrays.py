"""npy, npz, HDF5, dSprites and 3D Shapes, written by NumPy and h5py."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import refused

from rl_vae import FactorGrid, FrameDataset, FrameSpec, collect_sprites, export_data, import_frames
from rl_vae.errors import ConfigError, DatasetError, FolderError, MissingPackageError, RlVaeError
from rl_vae.formats.format import Format, ReadOptions, Source
from rl_vae.formats.registry import FORMATS, register_format
from rl_vae.metrics import factor_vae

SPEC = FrameSpec(32, 32)
N = 300
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 32, 32, 3), np.uint8)
LAST = np.arange(N) % 60 == 59
STEPS: dict[str, Any] = {
    "actions": RNG.normal(size=(N, 2)).astype(np.float32),
    "rewards": RNG.normal(size=N).astype(np.float32),
    "terminated": LAST & (np.arange(N) < 150),
    "truncated": LAST & (np.arange(N) >= 150),
    "episodes": np.arange(N) // 60,
}
FACTORS = {"x": np.arange(N) / 7, "kind": np.arange(N) % 3 * 1.0}


def check(dataset: FrameDataset) -> None:
    """Frames, actions, rewards, ends, episodes and factors are those above, byte for byte."""
    np.testing.assert_array_equal(dataset.frames(np.arange(N)), IMAGES)
    steps = dataset.steps()
    names = {"action": "actions", "reward": "rewards", "terminated": "terminated"}
    for field, name in {**names, "truncated": "truncated"}.items():
        np.testing.assert_array_equal(steps[field], STEPS[name])
        assert steps[field].dtype == STEPS[name].dtype
    np.testing.assert_array_equal(dataset.episode_of(np.arange(N)), STEPS["episodes"])
    assert set(dataset.factors) == set(FACTORS)
    for name, values in FACTORS.items():
        np.testing.assert_array_equal(dataset.factors[name], values)


def write(path: Path, compressed: bool = False) -> None:
    """Write the arrays as npz or HDF5."""
    arrays = {"images": IMAGES, **STEPS, **{f"factors/{n}": v for n, v in FACTORS.items()}}
    if path.suffix == ".npz":
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
        return
    h5py = pytest.importorskip("h5py", reason="pip install 'rl-vae[import]'")
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


@pytest.mark.parametrize("name", ["a.npz", "compressed.npz", "a.h5"])
def test_arrays_come_in_and_go_out(name: str, tmp_path: Path) -> None:
    """A file of another library gives the arrays, and so does the export of the dataset."""
    write(tmp_path / name, name.startswith("compressed"))
    dataset = import_frames(tmp_path / name, tmp_path / "1", spec=SPEC, progress=False)
    check(dataset)
    format = "hdf5" if name.endswith("h5") else "npz"
    out = export_data(dataset, tmp_path / f"out{Path(name).suffix}", format=format)
    check(import_frames(out, tmp_path / "2", spec=SPEC, progress=False))
    with refused(FolderError, "exists"):
        export_data(dataset, out, format=format)


def test_images_alone(tmp_path: Path) -> None:
    """A .npy file holds images alone; floats need their range."""
    np.save(tmp_path / "a.npy", IMAGES)
    dataset = import_frames(tmp_path / "a.npy", tmp_path / "1", spec=SPEC, progress=False)
    np.testing.assert_array_equal(dataset.frames(np.arange(N)), IMAGES)
    np.save(tmp_path / "f.npy", np.moveaxis(IMAGES[:20] / np.float32(255), 3, 1))
    floats = import_frames(
        tmp_path / "f.npy", tmp_path / "2", spec=SPEC, value_range=(0, 1), progress=False
    )
    np.testing.assert_array_equal(floats.frames(np.arange(20)), IMAGES[:20])


def test_other_names(tmp_path: Path) -> None:
    """keys names the arrays of a file with other names; the rest is listed as ignored."""
    np.savez(tmp_path / "a.npz", observations=IMAGES, terminals=LAST, surplus=LAST)
    with refused(DatasetError, "keys={'images': NAME}", "observations"):
        import_frames(tmp_path / "a.npz", tmp_path / "out", progress=False)
    keys = {"images": "observations", "terminated": "terminals"}
    dataset = import_frames(tmp_path / "a.npz", tmp_path / "out", keys=keys, progress=False)
    assert len(dataset.episodes) == 5
    assert dataset.header.env_kwargs["ignored"] == ["surplus"]


@pytest.mark.parametrize("name", ["a.npz", "compressed.npz", "a.npy", "a.h5"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.999])
def test_a_truncated_file_leaves_nothing(name: str, part: float, tmp_path: Path) -> None:
    """A file that ends early is one error, and there is no dataset."""
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, IMAGES)
    else:
        write(path, name.startswith("compressed"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with refused(DatasetError, str(path)):
        import_frames(path, tmp_path / "out", spec=SPEC, progress=False)
    assert not (tmp_path / "out").exists()


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    """An array of Python objects is refused."""
    objects = np.empty(3, object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=IMAGES, actions=objects, episodes=STEPS["episodes"])
    for name in ("a.npy", "b.npz"):
        with refused(RlVaeError, name):
            import_frames(tmp_path / name, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def grid(*sizes: int) -> Any:
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


def test_dsprites(tmp_path: Path) -> None:
    """The layout of dSprites gives images of 0 and 255, its factors, and a sampler for metrics."""
    classes = grid(1, 3, 2, 4, 2, 2)
    images = RNG.integers(0, 2, (len(classes), 64, 64), np.uint8)
    np.savez_compressed(tmp_path / "d.npz", imgs=images, latents_classes=classes)
    dataset = import_frames(tmp_path / "d.npz", tmp_path / "out", progress=False)
    np.testing.assert_array_equal(dataset.frames(np.arange(96))[..., 0], images * 255)
    assert dataset.header.factor_names == (
        *("color", "shape", "scale", "orientation", "posX", "posY"),
    )
    sampler = FactorGrid(dataset)
    assert sampler.factor_sizes == (3, 2, 4, 2, 2)
    rows = np.array([5, 77, 5])
    np.testing.assert_array_equal(sampler.draw(classes[rows, 1:], RNG), dataset.frames(rows))
    result = factor_vae(sampler, lambda frames: frames.reshape(len(frames), -1)[:, :9] / 255.0)
    assert 0 <= result.score.value <= 1


def test_shapes3d(tmp_path: Path) -> None:
    """The layout of 3D Shapes gives images and factors; an incomplete grid is no sampler."""
    h5py = pytest.importorskip("h5py", reason="pip install 'rl-vae[import]'")
    labels = grid(2, 2, 2, 2, 2, 3) / 10.0
    images = RNG.integers(0, 256, (96, 64, 64, 3), np.uint8)
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file["images"], file["labels"] = images, labels
    dataset = import_frames(tmp_path / "3dshapes.h5", tmp_path / "out", progress=False)
    np.testing.assert_array_equal(dataset.frames(np.arange(96)), images)
    np.testing.assert_array_equal(dataset.factors["orientation"], labels[:, 5])
    assert FactorGrid(dataset).factor_sizes == (2, 2, 2, 2, 2, 3)
    some = collect_sprites(tmp_path / "sprites", n_frames=64)
    with refused(ConfigError, "no grid"):
        FactorGrid(some)


def test_a_format_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered format reads its files; names are taken once, and must exist."""
    from rl_vae.data.records import array_records

    monkeypatch.setattr("rl_vae.formats.registry.FORMATS", dict(FORMATS))

    def read(path: Path, options: ReadOptions) -> Source:
        return Source(array_records(np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 32, 32)))

    register_format(Format("raw", "bytes", lambda path: path.suffix == ".raw", read))
    (tmp_path / "a.raw").write_bytes(IMAGES[:9, ..., 0].tobytes())
    dataset = import_frames(tmp_path / "a.raw", tmp_path / "out", progress=False)
    assert len(dataset) == 9 and dataset.header.env_kwargs["format"] == "raw"
    for wrong in ("raw", "npz"):
        with refused(ConfigError, "already"):
            register_format(Format(wrong, "", lambda path: False))
    with refused(ConfigError, "raw, dsprites"):
        import_frames(tmp_path / "a.raw", tmp_path / "no", format="rav")


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the reader's package the error names rl_vae's extra, and nothing is left."""
    (tmp_path / "a.h5").touch()
    (tmp_path / "a.mp4").touch()
    for module, name in (("h5py", "a.h5"), ("av", "a.mp4")):
        monkeypatch.setitem(sys.modules, module, None)
        with refused(MissingPackageError, "rl-vae[import]"):
            import_frames(tmp_path / name, tmp_path / "out", progress=False)
        assert not (tmp_path / "out").exists()


MEMORY = """
import sys
from pathlib import Path
from rl_vae import FrameSpec, import_frames
import_frames(sys.argv[1], sys.argv[2], spec=FrameSpec(64, 64), progress=False)
# Not ru_maxrss, which begins with the peak of the process that started this one.
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path, figures: list[str]) -> None:
    """A source of ten times as many images takes no more memory: 0.5 GB in the larger file."""
    peaks = []
    for n in (4_000, 40_000):
        path = tmp_path / f"{n}.npz"
        images = np.zeros((n, 64, 64, 3), np.uint8)
        images[:, 5] = 200
        np.savez_compressed(path, images=images)
        del images
        command = [sys.executable, "-c", MEMORY, path, tmp_path / str(n)]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
    figures.append(f"import of 4,000 and 40,000 images: peaks of {peaks} KiB")
    assert peaks[1] < peaks[0] + 100_000
