"""Check of the wrappers: does an agent observe the right numbers at every step and every end?

The check runs CountingEnv through each wrapper, and compares the observations with those of
`rl_vae.sb3.expected_observations`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_vae.models.encoder import Encoder
from rl_vae.sb3.counting_env import ACTION_SPACES
from rl_vae.sb3.expected_observations import CONTAINERS, Case, CaseResult, ExpectedObservations
from rl_vae.sb3.vec_latent import VecLatent
from rl_vae.wrappers.config import ObservationConfig
from rl_vae.wrappers.latent import LatentObservation
from rl_vae.wrappers.vector import VectorLatentObservation

ADAPTERS = (
    ("LatentObservation", "reset by hand"),
    ("VectorLatentObservation", "NEXT_STEP"),
    ("VectorLatentObservation", "SAME_STEP"),
    ("VectorLatentObservation", "DISABLED"),
    ("VecLatent", "same step"),
)
"""Wrapper, and how new episodes begin."""

OBSERVATIONS = ("image", "flatten", "dict")
"""Raw observation: an image alone, or a Dict whose extras are flattened or kept."""

N_ENVS, N_STEPS = 3, 14


def all_cases() -> list[Case]:
    """All combinations of wrapper, observation, ending, stack and actions, and some more.

    The others check dropped extras, Tuple and nested Dict observations, and past actions of the
    other action spaces, in every wrapper.
    """
    endings = ("terminated", "truncated")
    cases = [
        Case(*adapter, observation, ending, stack, actions)
        for adapter, observation, ending, stack, actions in itertools.product(
            ADAPTERS, OBSERVATIONS, endings, (1, 4), (0, 2)
        )
    ]
    cases += [Case(*adapter, "drop", "truncated", 4, 2) for adapter in ADAPTERS]
    # Stable-Baselines3 has neither Tuple nor nested Dict observations.
    cases += [
        Case(*adapter, container, "truncated", 4, 2)
        for adapter, container in itertools.product(ADAPTERS, CONTAINERS)
        if adapter[0] != "VecLatent"
    ]
    spaces = [name for name in ACTION_SPACES if name != "Box"]
    return cases + [
        Case(*adapter, "image", "truncated", 1, 2, space)
        for adapter, space in itertools.product(ADAPTERS, spaces)
    ]


def check_case(case: Case, encoder: Encoder) -> CaseResult:
    """Run some episodes through a wrapper and compare all observations."""
    n_envs = 1 if case.adapter == "LatentObservation" else N_ENVS
    expected = ExpectedObservations(case, encoder, n_envs)
    _RUNNERS[case.adapter](case, encoder, expected)
    return expected.result()


def check_all(path: str | Path) -> dict[Case, CaseResult]:
    """Check every case with the encoder of a model folder."""
    encoder = Encoder.load(path)
    return {case: check_case(case, encoder) for case in all_cases()}


def format_table(results: Mapping[Case, CaseResult]) -> str:
    """Table of the largest error of each case, with "FAIL" for each case that did not pass."""
    columns = {
        "adapter": 24,
        "autoreset": 14,
        "observation": 12,
        "ending": 11,
        "stack": 6,
        "actions": 8,
        "action space": 14,
    }
    title = " ".join(f"{name:{width}}" for name, width in columns.items())
    lines = [f"{title} max error"]
    for case, result in results.items():
        row = [f"{value!s:{w}}" for value, w in zip(case, columns.values(), strict=True)]
        outcome = "pass" if result.passed else "FAIL"
        lines.append(f"{' '.join(row)} {result.max_error:9.1e} {outcome}")
    return "\n".join(lines)


def _options(case: Case) -> ObservationConfig:
    extras: Any = case.observation if case.observation in ("dict", "drop") else "flatten"
    return ObservationConfig(stack=case.stack, actions=case.actions, extras=extras)


def _draw_actions(case: Case, n_envs: int) -> Iterator[NDArray[Any]]:
    rng = np.random.default_rng(0)
    for _ in range(N_STEPS):
        match case.action_space:
            case "Box":
                yield rng.uniform(-2, 2, (n_envs, 2)).astype(np.float32)
            case "Discrete":
                yield rng.integers(-1, 2, n_envs)
            case "MultiDiscrete":
                yield rng.integers(0, [2, 3], (n_envs, 2))
            case _:
                yield rng.integers(0, 2, (n_envs, 2)).astype(np.int8)


def _row(batch: Any, env: int) -> Any:
    return {k: v[env] for k, v in batch.items()} if isinstance(batch, dict) else batch[env]


def _run_single(case: Case, encoder: Encoder, expected: ExpectedObservations) -> None:
    env = LatentObservation(expected.envs[0], encoder.path, config=_options(case))
    expected.begin(0, env.reset()[0])
    for (action,) in _draw_actions(case, 1):
        observation, _, terminated, truncated, _ = env.step(action)
        expected.act(0, action, observation, terminated or truncated)
        if terminated or truncated:
            expected.begin(0, env.reset()[0])


def _run_vector(case: Case, encoder: Encoder, expected: ExpectedObservations) -> None:
    mode = AutoresetMode[case.autoreset]
    vector = SyncVectorEnv(_factories(expected), autoreset_mode=mode)
    envs = VectorLatentObservation(vector, encoder, config=_options(case))
    observations, _ = envs.reset()
    done = np.zeros(N_ENVS, np.bool_)
    for env in range(N_ENVS):
        expected.begin(env, _row(observations, env))
    for actions in _draw_actions(case, N_ENVS):
        was_done = done
        observations, _, terminated, truncated, infos = envs.step(actions)
        done = terminated | truncated
        for env in range(N_ENVS):
            if mode is AutoresetMode.NEXT_STEP and was_done[env]:
                expected.begin(env, _row(observations, env))
            elif mode is AutoresetMode.SAME_STEP and done[env]:
                expected.act(env, actions[env], infos["final_obs"][env], True)
                expected.begin(env, _row(observations, env))
            else:
                expected.act(env, actions[env], _row(observations, env), bool(done[env]))
        if mode is AutoresetMode.DISABLED and done.any():
            observations, _ = envs.reset(options={"reset_mask": done})
            for env in range(N_ENVS):
                compare = expected.begin if done[env] else expected.compare
                compare(env, _row(observations, env))


def _run_sb3(case: Case, encoder: Encoder, expected: ExpectedObservations) -> None:
    venv = VecLatent(DummyVecEnv(_factories(expected)), encoder, config=_options(case))
    observations: Any = venv.reset()
    for env in range(N_ENVS):
        expected.begin(env, _row(observations, env))
    # Agents of Stable-Baselines3 count discrete actions from 0, these environments from -1.
    start = -1 if case.action_space == "Discrete" else 0
    for actions in _draw_actions(case, N_ENVS):
        observations, _, dones, infos = venv.step(actions - start)
        for env in range(N_ENVS):
            if dones[env]:
                expected.act(env, actions[env], infos[env]["terminal_observation"], True)
                expected.begin(env, _row(observations, env))
            else:
                expected.act(env, actions[env], _row(observations, env), False)


def _factories(expected: ExpectedObservations) -> list[Callable[[], gym.Env[Any, Any]]]:
    return [lambda env=env: env for env in expected.envs]  # type: ignore[misc]


_RUNNERS: dict[str, Callable[[Case, Encoder, ExpectedObservations], None]] = {
    "LatentObservation": _run_single,
    "VectorLatentObservation": _run_vector,
    "VecLatent": _run_sb3,
}
