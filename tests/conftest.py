"""What many tests share: a tiny dataset and a tiny model of it, made once a session."""

import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import quick_exports  # noqa: F401 - for its effect
import torch
from environments import COUNTING
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from rl_vae import Encoder, FrameDataset, FrameSpec, TrainConfig, VAEConfig, collect_frames
from rl_vae import train_vae as train
from rl_vae.training.result import Trained

# A shell's background jobs, and what they start, ignore Ctrl-C: tests that press it would wait.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
collect_ignore = [  # helpers without tests: doctest would import them a second time
    str(path.relative_to(Path(__file__).parent))
    for path in Path(__file__).parent.rglob("*.py")
    if not path.name.startswith("test_")
]
SPEC = FrameSpec(height=32, width=48, crop=(2, 0, 0, 4))  # crops, and changes the shape
torch.set_num_threads(1)  # tiny tensors; two threads on two busy cores take five times as long
CONFIG = VAEConfig(latent_dim=4)
TRAINING = TrainConfig(epochs=4, batch_size=32)

MAX_NEW_MEMORY = 2**30
"""Bytes that reading may allocate: more than intact files need, less than a giant shape does."""

FIGURES = pytest.StashKey[list[str]]()
"""Lines that tests have to report beside passing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz",
        type=int,
        default=500,
        metavar="N",
        help="changed inputs for each parser of foreign bytes, ten times what each property is "
        "tried with (default: 500)",
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile(
        "rl_vae",
        max_examples=max(10, config.getoption("fuzz") // 10),
        derandomize=True,  # the same examples every time
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    settings.load_profile("rl_vae")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    if config.stash.get(FIGURES, []):
        terminalreporter.section("figures")
        for line in config.stash[FIGURES]:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A test that changes torch's number of threads changes it for itself only."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[str]:
    """Lines to be shown when all tests have run."""
    lines: list[str] = request.config.stash.setdefault(FIGURES, [])
    return lines


def collect_counting(out: Path, seed: int = 0) -> FrameDataset:
    """320 frames of Counting in two shards."""
    return collect_frames(
        COUNTING,
        out,
        n_frames=320,
        spec=SPEC,
        seed=seed,
        engine="gymnasium",
        workers=1,
        progress=False,
    )


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> FrameDataset:
    """320 frames of Counting in two shards."""
    return collect_counting(tmp_path_factory.mktemp("shared") / "dataset")


@pytest.fixture(scope="session")
def frames(dataset: FrameDataset) -> NDArray[np.uint8]:
    """(40, H, W, C): some frames of the dataset."""
    return dataset.frames(np.arange(0, 320, 8))


@pytest.fixture(scope="session")
def trained(dataset: FrameDataset) -> Trained:
    """A model of the dataset, with four latents. Read only: take `model` to change something."""
    return train(dataset, dataset.path.with_name("model"), CONFIG, TRAINING, progress=False)


@pytest.fixture(scope="session")
def encoder(trained: Trained) -> Encoder:
    """The encoder of that model."""
    return Encoder.load(trained.path)


@pytest.fixture
def model(trained: Trained, tmp_path: Path) -> Path:
    """A copy of that model, to do with as one likes."""
    return Path(shutil.copytree(trained.path, tmp_path / "model"))


@pytest.fixture
def dataset_copy(dataset: FrameDataset, tmp_path: Path) -> Path:
    """A copy of the dataset's folder, which a test may change."""
    return Path(shutil.copytree(dataset.path, tmp_path / "data"))


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest and is not training: the export to ONNX."""
    monkeypatch.setattr("rl_vae.models.save.export_onnx", lambda vae: b"left out")


@pytest.fixture
def limited_memory() -> Iterator[None]:
    """Limit the address space of this process to MAX_NEW_MEMORY more bytes."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_NEW_MEMORY, before[1])
    )
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
