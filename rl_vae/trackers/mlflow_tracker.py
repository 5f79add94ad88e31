"""MlflowTracker: runs of MLflow, in files unless MLFLOW_TRACKING_URI says otherwise."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rl_vae.frames import UInt8Array
from rl_vae.trackers.base import TrackedRun, Tracker, Value

_TAG = "rl_vae.run"
"""Tag of a run that holds its id: MLflow makes ids of its own."""


class MlflowTracker(Tracker):
    """Writes to the folder mlruns/ beside the finished folder. Histograms are left out.

    MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are followed.
    """

    def __init__(self, run: TrackedRun) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            uri = (run.store / "mlruns").as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # of MLflow 3
        import mlflow.entities

        self._metric: Any = mlflow.entities.Metric
        self._client: Any = mlflow.MlflowClient(tracking_uri=uri)
        self._run_id = self._open(run, mlflow.entities.Param)

    def log(self, values: Mapping[str, Value], step: int) -> None:
        """Report values after a step."""
        now = int(1000 * time.time())
        metrics = [
            self._metric(name, float(value), now, step)
            for name, value in values.items()
            if not isinstance(value, np.ndarray)
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def log_images(self, images: Mapping[str, UInt8Array], step: int) -> None:
        """Report images after a step, as artifacts in images/."""
        for name, image in images.items():
            self._client.log_image(self._run_id, image, key=name, step=step, synchronous=True)

    def close(self, *, finished: bool) -> None:
        """Say how the session ended."""
        self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")

    def _open(self, run: TrackedRun, param: Any) -> str:
        """Id of the run in MLflow: an interrupted one goes on, another one is created."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "rl_vae")
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        wanted = run.read_id()
        for same in self._client.search_runs([experiment], f"tags.`{_TAG}` = '{wanted}'"):
            self._client.update_run(same.info.run_id, "RUNNING")
            return str(same.info.run_id)
        new = self._client.create_run(experiment, run_name=run.name, tags={_TAG: wanted})
        settings = [param(key, str(value)[:6000]) for key, value in _flat(run.config)]
        self._client.log_batch(new.info.run_id, params=settings)
        self._client.log_dict(new.info.run_id, dict(run.config), "config.json")
        return str(new.info.run_id)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings with names such as train.objective.beta."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
