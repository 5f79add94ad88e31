"""Types of the values in the config.json of an agent, which may come from a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_vae.system.json_types import NUMBER, TEXT_OR_NONE, check_types

_TYPES: dict[str, tuple[type, ...]] = {
    "env_id": (str,),
    "env_kwargs": (dict,),
    "max_episode_steps": (int, type(None)),
    "environment": (dict, type(None)),
    "engine": (str,),
    "encoder": (str,),
    "recipe": (dict,),
    "seed": (int,),
    "start": TEXT_OR_NONE,
    "action_space": (dict,),
    "environment_action_space": (dict,),
    "pixels": (dict,),
    "extras_space": (dict, type(None)),
    "steps": (int,),
    "seconds": NUMBER,
    "versions": (dict,),
    "files": (dict,),
    "selection": (dict,),
    "kept": (dict,),
    "evaluation": (list,),
    "drift": NUMBER,
    "evolution": (dict,),
    "refresh": (dict,),
    "refreshes": (list,),
}
_TRAINING: dict[str, tuple[type, ...]] = {
    "seed": (int,),
    "step": (int,),
    "check_return": NUMBER,
    "steps": (int,),
    "seconds": NUMBER,
}
_KEPT: dict[str, tuple[type, ...]] = {
    **{name: _TRAINING[name] for name in ("seed", "step", "check_return")},
    "check_episodes": (int,),
    "first_check_seed": (int,),
    "trainings": (list,),
}


def check_config(config: Mapping[str, Any]) -> None:
    """Check the types of what `train_agent` and `evolve_agent` write.

    Raises:
        TypeError: if a value has another type, or an entry is missing in "kept" or "refreshes".
    """
    check_types("config.json", config, _TYPES)
    if any(type(value) not in NUMBER for value in config.get("evaluation", ())):
        raise TypeError(f"evaluation {str(config['evaluation'])[:80]}")
    # What is read by name must be there
    for point in config.get("refreshes", ()):
        _check_all("refreshes", point, {"steps": (int,), "encoder": (str,)})
    if "kept" in config:
        _check_all("kept", config["kept"], _KEPT)
        for training in config["kept"]["trainings"]:
            _check_all("trainings", training, _TRAINING)


def _check_all(name: str, values: Any, types: Mapping[str, tuple[type, ...]]) -> None:
    check_types(name, values, types)
    if set(values) != set(types):
        raise TypeError(f"{name}: {', '.join(sorted(map(str, values)))[:80]}")
