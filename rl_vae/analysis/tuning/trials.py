"""read_trials: what a study's database says of its trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rl_vae.errors import MissingPackageError


class TrialRecord(NamedTuple):
    """One trial."""

    number: int
    """Its number, from 0."""
    state: str
    """COMPLETE, PRUNED, RUNNING, WAITING or FAIL."""
    value: float | None
    """Its mean return."""
    settings: dict[str, Any]
    """What was chosen."""
    seconds: float
    """Seconds from its start to its end; 0 if it has not ended."""


def read_trials(out: Path) -> list[TrialRecord]:
    """Read the trials of a study; nothing is written.

    Args:
        out: Folder of the study.

    Raises:
        MissingPackageError: if Optuna is not installed.
    """
    try:
        import optuna
        import sqlalchemy.engine
    except ImportError as error:
        raise MissingPackageError.of(error, "The status of a search") from error
    url = sqlalchemy.engine.URL.create("sqlite", database=str(out / "study.db"))
    storage = optuna.storages.RDBStorage(url.render_as_string(), skip_compatibility_check=True)
    try:
        study = optuna.load_study(study_name="rl_vae", storage=storage)
        return [
            TrialRecord(
                trial.number,
                trial.state.name,
                trial.value,
                trial.params,
                trial.duration.total_seconds() if trial.duration else 0.0,
            )
            for trial in study.get_trials()
        ]
    finally:
        storage.engine.dispose()
