"""push_folder: a model, an agent, a dataset or a report becomes a repository of the hub."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_vae.analysis.report_folder import PAGE, describe_report, read_page
from rl_vae.constraints import check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, FolderError, MissingPackageError
from rl_vae.formats.videos import write_h264
from rl_vae.hub.kinds import CARD, KINDS, VIDEO, Kind, files_of, is_named
from rl_vae.models.description import read_config
from rl_vae.system import files, hashing, strict_json
from rl_vae.system.hub import bars_in_terminals, check_id, hub_error
from rl_vae.verify import verify_folder


@check_arguments
def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    dataset: str | None = None,
    video: str | Path | None = None,
    progress: bool = True,
) -> str:
    """Upload a folder to the Hugging Face hub, in one commit. It is verified first.

    The repository is made if it does not exist. Files of an earlier push that the folder does not
    have are deleted there; other files of the repository stay. agent.zip is not uploaded: it is a
    pickle. The card (README.md) is written for the hub.

    Args:
        folder: Folder of a model, agent or dataset, or the page of a report.
        repo_id: Id of the repository, "user/name". A dataset becomes a dataset repository, a
            report a static Space, the others a model repository.
        private: Whether the repository is private if it is new.
        dataset: Id of the dataset on the hub on which a model was trained; the card names it.
        video: Film of an agent, which becomes replay.mp4 (H.264) in the repository.
        progress: Whether to show a progress bar if there is a terminal.

    Returns:
        Address of the commit.

    Raises:
        FolderError: if the folder is damaged, unfinished or of another kind, or the hub refuses.
        ConfigError: if an id has another form, or something else than an agent has a video.
        MissingPackageError: if huggingface_hub is not installed, or PyAV, which a video needs.
    """
    for name in (repo_id, *([] if dataset is None else [dataset])):
        check_id(name)
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingPackageError.of(error, "Pushing to the Hugging Face hub") from error
    with _packed(Path(folder)) as path:
        kind = _verified_kind(path, progress)
        if video is not None and kind != "agent":
            raise ConfigError(
                "Only an agent has a video.",
                expected="the folder of an agent, or no video",
                got=f"a {kind}",
                remedy="leave video out",
            )
        with _film(video) as film:
            content = _content(path, kind, repo_id, dataset, film)
            return _upload(HfApi(), repo_id, KINDS[kind], content, private)


@contextlib.contextmanager
def _packed(path: Path) -> Iterator[Path]:
    """The folder itself; or, of a page, a temporary folder that describes it."""
    if not path.is_file():
        yield path
        return
    page = read_page(path)
    with tempfile.TemporaryDirectory(prefix="rl-vae-push-") as temporary:
        files.write_new(Path(temporary) / PAGE, page)
        strict_json.write_json(Path(temporary) / "config.json", describe_report(page))
        yield Path(temporary)


def _verified_kind(path: Path, progress: bool) -> str:
    """Kind of a folder in which nothing is damaged or missing.

    Raises:
        FolderError: if something is, or such folders are not shared.
    """
    result = verify_folder(path, progress=progress)
    if result.kind not in KINDS:
        raise FolderError(
            f"{path} is not pushed.",
            expected=f"a {', '.join(KINDS)}",
            got=f"a folder of the kind {result.kind}",
            remedy="push the models, agents or datasets in it",
        )
    if result.findings:
        raise FolderError(
            f"{path} is damaged, and was not pushed.",
            expected="files that equal their digests",
            got=result.findings[0].damage,
            remedy=f"rl-vae verify {path}",
        )
    if result.kind == "dataset":
        FrameDataset.open(path).require_complete()
    return result.kind


@contextlib.contextmanager
def _film(video: str | Path | None) -> Iterator[Path | None]:
    """The video in H.264, in a temporary folder."""
    if video is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="rl-vae-push-") as temporary:
        film = Path(temporary) / VIDEO
        try:
            write_h264(Path(video), film)
        except ImportError as error:
            raise MissingPackageError.of(error, "A video") from error
        yield film


def _content(
    path: Path, kind: str, repo_id: str, dataset: str | None, film: Path | None
) -> dict[str, bytes | Path]:
    """What is uploaded, by name: files of the folder, but with the hub's card."""
    from rl_vae.hub.card import write_card

    patterns = (*KINDS[kind].files, *KINDS[kind].shown)
    content: dict[str, bytes | Path] = {name: path / name for name in files_of(path, patterns)}
    if film is not None:
        content[VIDEO] = film
    content[CARD] = write_card(kind, path, repo_id, content, dataset).encode()
    if kind == "model":  # its description has the digest of the card
        config = read_config(path)
        del config["digest"]
        config["files"][CARD] = hashing.digest(content[CARD])
        config["digest"] = hashing.digest(config)
        content["config.json"] = strict_json.indented_json(config)
    return content


def _upload(
    api: Any, repo_id: str, kind: Kind, content: dict[str, bytes | Path], private: bool
) -> str:
    """Make the repository unless it exists, and commit all files at once."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    patterns = (*kind.files, *kind.shown)
    sdk = {"space_sdk": "static"} if kind.repo_type == "space" else {}
    try:
        api.create_repo(repo_id, repo_type=kind.repo_type, private=private, exist_ok=True, **sdk)
        there = api.list_repo_files(repo_id, repo_type=kind.repo_type)
        old = [name for name in there if is_named(name, patterns) and name not in content]
        operations: list[Any] = [CommitOperationAdd(name, value) for name, value in content.items()]
        operations += [CommitOperationDelete(name) for name in old]
        with bars_in_terminals():
            commit = api.create_commit(
                repo_id,
                operations,
                commit_message="Push with rl-vae",
                repo_type=kind.repo_type,
            )
    except Exception as error:  # huggingface_hub and its HTTP client raise many kinds
        raise hub_error(
            error, f"{repo_id} could not be written on the Hugging Face hub."
        ) from error
    return str(commit.commit_url)
