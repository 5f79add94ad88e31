"""What a report is about: models, agents, frames and a comparison, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rl_vae.agents.agent import Agent
from rl_vae.analysis.report.comparison_folder import ComparisonFolder
from rl_vae.analysis.report.groups import beta_of
from rl_vae.analysis.report_folder import GENERATOR
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.encoder import Encoder


class ReportInputs(NamedTuple):
    """What a report is about."""

    names: list[str]
    """Name of each model on the page."""
    encoders: list[Encoder]
    agents: list[Agent]
    """Agents that observe codes of these models."""
    frames: FrameDataset
    comparison: ComparisonFolder | None

    def agent_of(self, encoder: Encoder) -> Agent | None:
        """The first agent that observes the codes of a model."""
        return next((a for a in self.agents if a.encoder.digest == encoder.digest), None)


def read_inputs(
    models: Sequence[str | Path],
    dataset: str | Path | None,
    agent: str | Path | None,
    comparison: str | Path | None,
) -> ReportInputs:
    """Read what `write_report` was given. Missing models and frames come from the others.

    Raises:
        ConfigError: if there is no model or no dataset, or if the agent observes no model's codes.
        ObservationError: if the frames were made by another FrameSpec than a model's.
        FolderError, DatasetError: if a folder is missing or damaged.
    """
    # Find the models and agents that are not named
    folders, agents = [Path(model) for model in models], []
    if agent is not None:
        agents.append(Agent.load(agent))
        folders = folders or [agents[0].encoder.path]
    study = None if comparison is None else ComparisonFolder(Path(comparison))
    if study is not None:
        folders = folders or study.models()
        dataset = study.path / "scored" if dataset is None else dataset
        trained = [study.agent_of(folder) for folder in folders]
        agents += [Agent.load(folder) for folder in trained if folder is not None]
    if not folders or dataset is None:
        raise ConfigError(
            "There is no model to report on." if not folders else "There are no frames to show.",
            expected="models and a dataset of their frames, or a comparison",
            got="no model" if not folders else "no dataset",
            remedy="rl-vae report MODEL --dataset DATASET --out report.html",
        )
    # Read them, and check that they belong together
    frames = FrameDataset.open(dataset)
    frames.require_complete()
    encoders = [Encoder.load(folder) for folder in folders]
    for encoder in encoders:
        _check_provenance(encoder)
        encoder.check_spec(frames.spec)
    _check_agents(agents, encoders)
    return ReportInputs(_names(folders, encoders), encoders, agents, frames, study)


def check_target(out: Path) -> None:
    """Check that a report can be written to `out`.

    Raises:
        ConfigError: if the name does not end in .html, or is that of a folder.
        FolderError: if the file exists and is no report.
    """
    if out.suffix != ".html" or out.is_dir():
        raise ConfigError(
            "The report's file name is not usable.",
            expected="the name of an HTML file, which ends in .html",
            got=repr(str(out)),
            remedy="choose out='report.html'",
        )
    if out.is_file() and GENERATOR.encode() not in out.read_bytes()[:1000]:
        raise FolderError(
            f"{out} exists and is no report.",
            expected="a new file name, or an earlier report",
            got="another file",
            remedy="choose another name, or delete the file",
        )


def _names(folders: Sequence[Path], encoders: Sequence[Encoder]) -> list[str]:
    """Name of each model: the shortest end of its path that is unique, and its beta."""
    paths = [folder.resolve().parts for folder in folders]
    if len(set(paths)) < len(paths):
        raise ConfigError(
            "A model occurs twice.",
            expected="each model once",
            got=", ".join(map(str, folders)),
            remedy="leave out the repetition",
        )
    depth = 1
    while len({parts[-depth:] for parts in paths}) < len(paths):
        depth += 1
    names = ["/".join(parts[-depth:]) for parts in paths]
    for place, encoder in enumerate(encoders):
        beta = beta_of(encoder)
        if beta is not None and "beta" not in names[place]:
            names[place] += f", beta {beta:g}"
    return names


def _check_provenance(encoder: Encoder) -> None:
    """Check that config.json describes the training, which the page shows."""
    try:
        provenance = encoder.provenance
        kind = provenance["train"]["objective"]["kind"]
        beta_of(encoder)
        trained = provenance["steps"] + provenance["seconds"]
        is_right = all(
            [
                isinstance(kind, str),
                isinstance(trained, float),
                isinstance(provenance["dataset"], str | None),
            ]
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        is_right = False
    if not is_right:
        raise FolderError.damaged(
            encoder.path / "config.json", "objective, steps, seconds and dataset of the training",
            encoder.provenance,
        )  # fmt: skip


def _check_agents(agents: Sequence[Agent], encoders: Sequence[Encoder]) -> None:
    digests = {encoder.digest for encoder in encoders}
    for agent in agents:
        if agent.encoder.digest not in digests:
            raise ConfigError(
                f"The agent {agent.path} observes the codes of another model.",
                expected=f"the model {agent.encoder.digest[:16]} among the report's models",
                got=", ".join(sorted(digest[:16] for digest in digests)),
                remedy=f"add the agent's model: {agent.encoder.path}",
            )
