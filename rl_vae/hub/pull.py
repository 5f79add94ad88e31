"""pull_folder: a repository of the hub becomes a folder of a model, agent, dataset or report."""

from __future__ import annotations

import shutil
from pathlib import Path

from rl_vae.constraints import check_arguments
from rl_vae.errors import FolderError
from rl_vae.hub.kinds import KINDS, files_of
from rl_vae.system import files
from rl_vae.system.hub import RepoType, check_id, download
from rl_vae.system.new_folder import check_absent, new_folder
from rl_vae.system.outputs import output_path
from rl_vae.system.reading import opened
from rl_vae.verify import verify_folder

_MAX_FILE_BYTES = 2**32


@check_arguments
def pull_folder(
    repo_id: str,
    out: str | Path,
    *,
    revision: str | None = None,
    repo_type: RepoType = "model",
    progress: bool = True,
) -> Path:
    """Download a folder that `push_folder` uploaded, verify it, and give it its name.

    Files that rl_vae's formats do not name are not downloaded, and nothing that is downloaded is
    run. A killed download is continued by the same call; the folder exists when it is whole.

    Args:
        repo_id: Id of the repository, "user/name".
        out: Folder to write, which must not exist.
        revision: Branch, tag or commit; None: the branch "main".
        repo_type: Type of the repository: "model" for models and agents, "dataset", or "space" for
            reports.
        progress: Whether to show a progress bar if there is a terminal.

    Returns:
        The folder.

    Raises:
        FolderError: if the repository cannot be read, is damaged or holds something else, or there
            is anything at `out`.
        ConfigError: if the id has another form.
        MissingPackageError: if huggingface_hub is not installed.
    """
    check_id(repo_id)
    out = output_path(out)
    check_absent(out)
    kinds = [kind for kind in KINDS.values() if kind.repo_type == repo_type]
    patterns = tuple(dict.fromkeys(name for kind in kinds for name in kind.files))
    snapshot = download(repo_id, revision, patterns, repo_type)
    with files.disk_errors(out), new_folder(out) as new:
        for name in files_of(snapshot, patterns):
            files.make_folder((new / name).parent)
            with (
                opened(snapshot / name, _MAX_FILE_BYTES) as source,
                files.whole_file(new / name) as target,
                target.open("wb") as copy,
            ):
                shutil.copyfileobj(source, copy)
        _check(new, repo_id, progress)
    return out


def _check(folder: Path, repo_id: str, progress: bool) -> None:
    """Raise FolderError unless a downloaded folder is intact."""
    try:
        result = verify_folder(folder, progress=progress)
    except FolderError as error:
        raise FolderError(
            f"{repo_id} holds nothing of rl_vae.",
            expected="a model, an agent, a dataset or a report that rl-vae push uploaded",
            got=error.got,
            remedy="check the id, the revision, and the type of the repository (--repo-type)",
        ) from error
    if result.findings:
        raise FolderError(
            f"{repo_id} is damaged; nothing was written.",
            expected="files that equal their digests",
            got=result.findings[0].damage,
            remedy="pull another revision, or tell its owner",
        )
