"""Values of another type in the config.json of an agent, with every digest right."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import little_models
import pytest
from environments import refused

from rl_vae.agents.agent import Agent
from rl_vae.agents.trained import read_trained
from rl_vae.cli.agents import print_kept
from rl_vae.errors import FolderError
from rl_vae.system import hashing
from rl_vae.verify import verify_folder

RESULTS: dict[str, Any] = {
    "evaluation": [1.0, 2.5],
    "drift": 0.25,
    "kept": {
        "seed": 0,
        "step": 64,
        "check_return": 2.5,
        "check_episodes": 2,
        "first_check_seed": 2**30 + 10**9,
        "trainings": [{"seed": 0, "step": 64, "check_return": 2.5, "steps": 256, "seconds": 1.5}],
    },
    "refreshes": [{"steps": 128, "encoder": "0" * 64}],
}
"""Results that an agent may have, beside those of every agent."""
ODD = (None, True, "x", "1", -1.5, 10**30, [], {}, [None], [[1.0]], ["a"], {"a": 1})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("types") / "agent"
    return Path(shutil.copytree(little_models.agent("PPO"), place))


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Path of each value in JSON values."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def write(folder: Path, body: dict[str, Any]) -> None:
    content = json.dumps({**body, "digest": hashing.digest(body)})
    (folder / "config.json").write_text(content)


def test_a_value_of_another_type_is_a_damaged_folder(folder: Path) -> None:
    """Each value in config.json is replaced by values of other types: the folder is then read, or
    it is a FolderError, and never another exception."""
    body = {**json.loads((folder / "config.json").read_bytes()), **RESULTS}
    del body["digest"]
    run = {name: body[name] for name in ("env_id", "encoder", "recipe", "seed", "start")}
    write(folder, body)
    trained = read_trained(folder, run)
    assert trained.kept is not None and trained.refreshes == (128,)
    inside = list(places(RESULTS))
    top = [(name,) for name in body if name not in RESULTS]
    for path in [*inside, *top]:
        for value in ODD:
            changed = json.loads(json.dumps(body))
            part = changed
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value
            write(folder, changed)
            try:
                print_kept(read_trained(folder, run))
            except FolderError as error:
                assert error.expected and error.got and error.remedy


@pytest.mark.parametrize("value", [5, ["1"], [None], "x", {}])
def test_an_evaluation_that_is_no_list_of_numbers(folder: Path, value: Any) -> None:
    """Such an evaluation is a FolderError that names it, wherever the folder is read."""
    body = json.loads((folder / "config.json").read_bytes())
    body |= RESULTS | {"evaluation": value}
    del body["digest"]
    write(folder, body)
    for read in (lambda: read_trained(folder, {}), lambda: Agent.load(folder)):
        with refused(FolderError, "evaluation"):
            read()
    assert verify_folder(folder).findings
