"""Registrations for worker processes: small, and no import that is not needed."""

import pickle
import subprocess
import sys
from typing import Any

import gymnasium as gym
import pytest
from environments import COUNTING, Counting

from rl_vae.envs.registrations import pickle_registrations


def sent(env_id: str) -> Any:
    """What a worker process receives of an id."""
    (content,) = [one for one in pickle_registrations() if pickle.loads(one)[0] == env_id]
    return content


def test_a_class_of_a_module_is_sent_by_name() -> None:
    """A worker that opens another environment need not import the module of this one."""
    env_id = COUNTING.partition(":")[2]
    assert gym.spec(env_id).entry_point is Counting
    content = sent(env_id)
    assert pickle.loads(content)[1].entry_point == "environments:Counting"
    assert gym.spec(env_id).entry_point is Counting  # unchanged here
    code = (
        "import pickle, sys\n"
        "pickle.loads(eval(sys.stdin.read()))\n"
        "assert 'environments' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], input=repr(content), text=True, check=True)


@pytest.mark.parametrize("name", ["__main__", "not_a_module"])
def test_another_class_is_sent_by_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that the worker cannot import is sent as it is."""
    own = type("Own", (Counting,), {"__module__": name})
    monkeypatch.setitem(gym.registry, "Own-v0", gym.spec(COUNTING.partition(":")[2]))
    gym.registry["Own-v0"] = type(gym.registry["Own-v0"])("Own-v0", entry_point=own)
    assert pickle.loads(sent("Own-v0"))[1].entry_point.__name__ == "Own"
