"""Push, pull and loading by id, against a server on the loopback address."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import little_models
import numpy as np
import pytest
from folder_files import flip_bit
from loopback_hub import LoopbackHub, ask, loopback_hub

from rl_vae import Agent, Encoder, FrameDataset, pull_folder, push_folder, verify_folder
from rl_vae.agents.folder import update_agent_config
from rl_vae.analysis.report.render import render_page
from rl_vae.errors import ConfigError, DatasetError, FolderError, MissingPackageError, RlVaeError
from rl_vae.system.hub import is_id

pytest.importorskip("huggingface_hub")
yaml = pytest.importorskip("yaml")

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=<...>' to upload:DeprecationWarning"  # in huggingface_hub
)
HOSTILE = '\x1b]0;x\x07"\n---\nlicense: mit\n`{{x}}` <script>\u202e'
LOADERS: dict[str, Callable[[], object]] = {
    "models/alice/model": lambda: Encoder.load("alice/model"),
    "models/alice/agent": lambda: Agent.load("alice/agent"),
    "datasets/alice/frames": lambda: FrameDataset.open("alice/frames"),
}
"""How each repository of the fixture is loaded by its id."""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Content of repositories into which a model, an agent, a dataset and a report were pushed."""
    folder = tmp_path_factory.mktemp("pushed")
    page = folder / "page.html"
    page.write_text(render_page("A report", [], {}))
    with loopback_hub() as hub, pytest.MonkeyPatch.context() as patch:
        _ask(patch, hub, folder)
        push_folder(little_models.model(), "alice/model", dataset="alice/frames", progress=False)
        push_folder(little_models.agent("PPO"), "alice/agent", progress=False)
        push_folder(little_models.dataset(), "alice/frames", progress=False)
        push_folder(page, "alice/report", progress=False)
        return hub.repositories


@pytest.fixture
def hub(
    pushed: dict[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LoopbackHub]:
    """A hub with these repositories, an empty cache, and an empty current folder."""
    with loopback_hub() as hub:
        hub.repositories = {name: dict(content) for name, content in pushed.items()}
        _ask(monkeypatch, hub, tmp_path)
        yield hub


def _ask(patch: pytest.MonkeyPatch, hub: LoopbackHub, folder: Path) -> None:
    """Ask this server, from an empty current folder."""
    ask(patch, hub, folder / "cache")
    (folder / "here").mkdir(exist_ok=True)
    patch.chdir(folder / "here")


@pytest.mark.parametrize("text", ["user/name", "a-1/b_2.c", "U/0"])
def test_an_id_is_user_and_name(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "user/name" is an id if there is nothing called "user" here; a Path never is."""
    monkeypatch.chdir(tmp_path)
    assert is_id(text)
    assert not is_id(Path(text))
    Path(text).parent.mkdir()
    assert not is_id(text)


@pytest.mark.parametrize(
    "text", ["name", "/user/name", "a/b/c", "./name", "~/name", "a/../b", "a/", "é/b", "a/b\n", ""]
)
def test_other_paths_are_no_ids(text: str) -> None:
    """Anything but two names with a slash between them is a path."""
    assert not is_id(text)


def test_what_exists_wins_over_the_hub(hub: LoopbackHub) -> None:
    """A folder of the same name is loaded, and the hub is not asked, nor for a misspelt folder."""
    shutil.copytree(little_models.model(), "alice/model")
    assert Encoder.load("alice/model").path == Path("alice/model")
    with pytest.raises(FolderError, match="no such folder"):
        Encoder.load("alice/modle")
    with pytest.raises(ConfigError, match="no revisions"):
        Encoder.load("alice/model", revision="v1")
    assert not hub.asked


def test_a_push_uploads_what_the_formats_name(pushed: dict[str, dict[str, bytes]]) -> None:
    """No file but those of the format, the card and the picture is uploaded: no agent.zip."""
    model = {"config.json", "model.safetensors", "encoder.onnx", "README.md"}
    shown = {"pictures/reconstructions.png"}
    names = {name: set(content) - {".gitattributes"} for name, content in pushed.items()}
    assert names["models/alice/model"] == model | shown
    agent = {"config.json", "policy.safetensors", "README.md"}
    assert names["models/alice/agent"] == agent | {f"encoder/{name}" for name in model}
    parts = {f"shard-0000{k}/{name}.npy" for k in range(2) for name in ("frames", "steps")}
    assert names["datasets/alice/frames"] == {"dataset.json", "manifest.jsonl", "README.md"} | parts
    assert names["spaces/alice/report"] == {"config.json", "index.html", "README.md"}


def test_ids_load_what_was_pushed(hub: LoopbackHub) -> None:
    """Model, agent and dataset are loaded by their ids, equal to the originals."""
    frames = FrameDataset.open("alice/frames", revision="v1")
    assert frames.digest == FrameDataset.open(little_models.dataset()).digest
    images = frames.frames(np.arange(8))
    original = Encoder.load(little_models.model())
    loaded = Encoder.load("alice/model", revision="main")
    assert loaded.digest == original.digest
    assert np.array_equal(loaded.encode(images), original.encode(images))
    agent = Agent.load("alice/agent", revision=hub.commit_of("models/alice/agent"))
    assert agent.digest == Agent.load(little_models.agent("PPO")).digest
    asked = "".join(hub.asked)
    assert "pictures" not in asked and "zip" not in asked


@pytest.mark.parametrize(
    ("repo_id", "repo_type"),
    [
        ("alice/model", "model"),
        ("alice/agent", "model"),
        ("alice/frames", "dataset"),
        ("alice/report", "space"),
    ],
)
def test_a_pulled_folder_is_whole(
    repo_id: str, repo_type: str, hub: LoopbackHub, tmp_path: Path
) -> None:
    """Nothing in it is damaged; a second pull does not overwrite it; nothing is left beside it."""
    out = pull_folder(repo_id, tmp_path / "out", repo_type=repo_type, progress=False)  # type: ignore[arg-type]
    assert not verify_folder(out, progress=False).findings
    assert not any(path.is_symlink() for path in out.rglob("*"))
    with pytest.raises(FolderError, match="exists already"):
        pull_folder(repo_id, out, repo_type=repo_type, progress=False)  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "here", "out"}


@pytest.mark.parametrize("repository", LOADERS)
def test_a_changed_byte_on_the_server_is_refused(
    repository: str, hub: LoopbackHub, tmp_path: Path
) -> None:
    """Each file of a format, with one byte changed, is refused by loading; one by pulling."""
    content = hub.repositories[repository]
    shown = {".gitattributes", "pictures/reconstructions.png"}
    shown |= {"README.md"} if repository != "models/alice/model" else set()
    for name in sorted(set(content) - shown):
        damaged = bytearray(content[name])
        damaged[len(damaged) // 2] ^= 1
        hub.repositories[repository] = {**content, name: bytes(damaged)}
        with pytest.raises((FolderError, DatasetError)):
            LOADERS[repository]()
    kind = "dataset" if "frames" in repository else "model"
    repo_id = repository.partition("/")[2]
    with pytest.raises((FolderError, DatasetError)):
        pull_folder(repo_id, tmp_path / "out", repo_type=kind, progress=False)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("out*"))


def test_what_is_planted_is_neither_run_nor_followed(hub: LoopbackHub, tmp_path: Path) -> None:
    """Pickles, scripts and names that lead out of the cache are not even downloaded."""
    planted = ["agent.zip", "evil.pkl", "setup.py", "encoder/handler.py", "encoder/x/config.json"]
    planted += ["../../../../out/config.json", "encoder/../../../../../out/README.md"]
    for name in planted:
        hub.repositories["models/alice/agent"][name] = b"cos\nsystem\n(S'touch ran'\ntR."
    escapes = "shard-0/../../../../../out/frames.npy"
    hub.repositories["datasets/alice/frames"][escapes] = b"x"
    Agent.load("alice/agent")
    pull_folder("alice/agent", tmp_path / "pulled", progress=False)
    with pytest.raises(RlVaeError):
        FrameDataset.open("alice/frames")
    asked = "".join(hub.asked)
    assert not [name for name in planted if f"/{name}" in asked]
    present = {path.name for path in tmp_path.rglob("*")}
    assert not present & {"ran", "out", "agent.zip", "evil.pkl", "setup.py", "handler.py"}


def test_a_link_in_a_snapshot_is_not_followed(hub: LoopbackHub, tmp_path: Path) -> None:
    """A file of the cache that links to something else than a blob is refused."""
    (tmp_path / "secret").write_bytes(b"mine")
    snapshot = Encoder.load("alice/model").path
    (snapshot / "README.md").unlink()
    (snapshot / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(FolderError, match="link out of"):
        Encoder.load("alice/model")
    with pytest.raises(FolderError, match="link out of"):
        pull_folder("alice/model", tmp_path / "out", progress=False)
    assert not list(tmp_path.glob("out*"))


def test_what_is_not_whole_is_not_pushed(hub: LoopbackHub, tmp_path: Path) -> None:
    """A damaged model, a training that is not finished and another page are refused, unasked."""
    shutil.copytree(little_models.model(), tmp_path / "model")
    flip_bit(tmp_path / "model" / "encoder.onnx")
    (tmp_path / "new.partial").mkdir()
    (tmp_path / "page.html").write_text("<html>")
    for name in ("model", "new", "page.html", "absent"):
        with pytest.raises(FolderError):
            push_folder(tmp_path / name, "alice/new", progress=False)
    with pytest.raises(ConfigError, match="no id"):
        push_folder(little_models.model(), "alice", progress=False)
    with pytest.raises(ConfigError, match="Only an agent"):
        push_folder(little_models.model(), "alice/new", video="film.mp4", progress=False)
    assert not hub.asked


def test_a_second_push_replaces_the_first(hub: LoopbackHub) -> None:
    """Files of the format that are gone are deleted; files of the user's own stay."""
    content = hub.repositories["datasets/alice/frames"]
    content |= {"shard-00009/frames.npy": b"old", "LICENSE": b"mine"}
    push_folder(little_models.dataset(), "alice/frames", progress=False)
    content = hub.repositories["datasets/alice/frames"]
    assert content["LICENSE"] == b"mine" and "shard-00009/frames.npy" not in content
    FrameDataset.open("alice/frames")


def test_the_card_of_an_agent(hub: LoopbackHub, tmp_path: Path) -> None:
    """The YAML block has the evaluated return, and a hostile name stays a text in it."""
    agent = tmp_path / "agent"
    shutil.copytree(little_models.agent("PPO"), agent)
    update_agent_config(agent, evaluation=[1.0, 2.0, 6.0], engine=HOSTILE)
    from rl_vae.hub.card import write_card

    update_agent_config(agent, env_id=HOSTILE)
    card = write_card("agent", agent, "alice/agent", ["replay.mp4"], None)
    _, block, body = card.split("---\n", 2)
    data = yaml.safe_load(block)
    assert data["library_name"] == "rl-vae" and data["metrics"] == ["mean_reward"]
    assert set(data) == {"library_name", "metrics", "pipeline_tag", "tags", "model-index"}
    (result,) = data["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "mean_reward", "value": "3.00 +/- 2.65"}]
    assert "license: mit" in result["dataset"]["name"]  # as text
    assert "replay.mp4" in body and 'Agent.load("alice/agent")' in body
    assert not set("\x1b\x07\u202e") & set(card) and "<script>" not in body


def test_the_card_of_a_model(pushed: dict[str, dict[str, bytes]]) -> None:
    """Its YAML names the library and the dataset; it shows a picture and the lines that load it."""
    card = pushed["models/alice/model"]["README.md"].decode()
    _, block, body = card.split("---\n", 2)
    assert yaml.safe_load(block)["datasets"] == ["alice/frames"]
    assert "(pictures/reconstructions.png)" in body and '"alice/model", stack=4' in body


def test_the_video_of_an_agent_is_h264(hub: LoopbackHub, tmp_path: Path) -> None:
    """A film becomes replay.mp4 in H.264, which browsers play."""
    av = pytest.importorskip("av")
    from rl_vae.models.pictures import save_video

    images = [np.full((34, 46, 3), 20 * k, np.uint8) for k in range(8)]
    save_video(tmp_path / "film.mp4", images, fps=12)
    push_folder(
        little_models.agent("PPO"), "alice/agent", video=tmp_path / "film.mp4", progress=False
    )
    content = hub.repositories["models/alice/agent"]
    (tmp_path / "replay.mp4").write_bytes(content["replay.mp4"])
    with av.open(str(tmp_path / "replay.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.frames) == ("h264", len(images))
        assert stream.average_rate == 12
    assert b"(replay.mp4)" in content["README.md"]


def test_a_repository_that_cannot_be_read(hub: LoopbackHub, tmp_path: Path) -> None:
    """A wrong id, revision, type or content is one error, and nothing is written."""
    hub.repositories["models/bob/other"] = {"weights.bin": b"x"}
    hub.repositories["models/bob/bert"] = {"config.json": b'{"model_type": "bert"}'}
    calls: list[Callable[[], object]] = [
        lambda: Encoder.load("bob/absent"),
        lambda: Encoder.load("alice/model", revision="v9"),
        lambda: Encoder.load("alice/agent"),
        lambda: Encoder.load("bob/other"),
        lambda: Agent.load("bob/bert"),
        lambda: FrameDataset.open("alice/model"),
        lambda: pull_folder("bob/other", tmp_path / "out", progress=False),
        lambda: pull_folder("bob/bert", tmp_path / "out", progress=False),
        lambda: pull_folder("alice/frames", tmp_path / "out", progress=False),
    ]
    for call in calls:
        with pytest.raises((FolderError, DatasetError), match=r"Expected: .* Remedy: "):
            call()
    assert not list(tmp_path.glob("out*"))


def test_other_work_in_partial_stays(hub: LoopbackHub, tmp_path: Path) -> None:
    """A pull beside an interrupted training of the same name is refused, and changes nothing."""
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "run.json").write_text("{}")
    with pytest.raises(FolderError, match="other work"):
        pull_folder("alice/model", tmp_path / "out", progress=False)
    assert (tmp_path / "out.partial" / "run.json").read_text() == "{}"


def test_the_extra_is_named_if_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without huggingface_hub an id, a push and a pull say what to install."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    calls: list[Callable[[], object]] = [
        lambda: Encoder.load("alice/model"),
        lambda: push_folder(tmp_path, "alice/model"),
        lambda: pull_folder("alice/model", tmp_path / "out"),
    ]
    for call in calls:
        with pytest.raises(MissingPackageError, match=r"rl-vae\[hub\]"):
            call()


PROGRAM = """
import os, sys
from rl_vae.cli import main
import rl_vae

main(["push", sys.argv[1], "bob/model", "--private"])
main(["pull", "bob/model", "--out", "copy"])
code = rl_vae.Encoder.load("bob/model")
os.environ["HF_HUB_OFFLINE"] = "1"
"""
OFFLINE = """
import rl_vae

print(rl_vae.Encoder.load("bob/model").digest)
try:
    rl_vae.Encoder.load("bob/absent")
except rl_vae.errors.FolderError as error:
    print(error)
"""


@pytest.mark.slow
def test_commands_and_a_cache_without_a_network(hub: LoopbackHub, tmp_path: Path) -> None:
    """The commands push and pull; later HF_HUB_OFFLINE=1 loads from the cache, and asks nobody."""
    variables = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    variables |= {"HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "token"}
    model = str(little_models.model())
    done = _run(PROGRAM, model, variables)
    assert "every byte verified" in done and "/models/bob/model/commit/" in done
    assert not verify_folder("copy", progress=False).findings
    hub.asked.clear()
    done = _run(OFFLINE, model, {**variables, "HF_HUB_OFFLINE": "1"})
    assert Encoder.load(little_models.model()).digest in done
    assert "bob/absent could not be read" in done
    assert not hub.asked


def _run(program: str, argument: str, variables: dict[str, str]) -> str:
    command = [sys.executable, "-c", program, argument]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
