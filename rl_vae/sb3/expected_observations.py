"""ExpectedObservations: right observations of CountingEnv, computed without the wrappers.

They are made of the encoder's latents of the true images, the true actions and the true extras.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_vae.models.encoder import Encoder
from rl_vae.sb3.counting_env import CountingEnv, Moment
from rl_vae.wrappers.layout import LATENT

TOLERANCE = 1e-6
"""Largest difference of a right number. Batches of different sizes differ by about 1e-8."""


CONTAINERS = ("tuple", "nested")
"""Observations with an image inside that are no flat Dict."""


class Case(NamedTuple):
    """One combination of wrapper, environment and options."""

    adapter: str
    """Name of the wrapper."""
    autoreset: str
    """How new episodes begin."""
    observation: str
    """"image", or "flatten", "dict" or "drop": the treatment of the extras of a Dict; or "tuple" or
    "nested": a Tuple or a nested Dict, whose extras are flattened."""
    ending: str
    """How episodes end: "terminated" or "truncated"."""
    stack: int
    """Number of codes in an observation."""
    actions: int
    """Number of past actions in an observation."""
    action_space: str = "Box"
    """One of ACTION_SPACES."""


class CaseResult(NamedTuple):
    """Differences between the observed and the expected numbers of one case."""

    max_error: float
    """Largest difference of any number of any observation."""
    observations: int
    """Number of compared observations."""
    final_observations: int
    """Number of compared observations that end an episode."""
    leaks: int
    """Number of first observations that hold the previous episode, plus the difference between the
    observed steps and those that the environments took."""
    min_change: float
    """Smallest change of a latent from one image to the next; errors are smaller than this."""

    @property
    def passed(self) -> bool:
        """Whether the wrapper is right, and the images differ enough to prove that."""
        proves = self.final_observations >= 2 and self.min_change > 100 * TOLERANCE
        return proves and self.leaks == 0 and self.max_error <= TOLERANCE


class ExpectedObservations:
    """Expected observations of N CountingEnvs, and how much the observed ones differ.

    Args:
        case: Combination to check.
        encoder: Encoder of the images.
        n_envs: N, the number of environments.
    """

    def __init__(self, case: Case, encoder: Encoder, n_envs: int) -> None:
        self.envs = [
            CountingEnv(
                env,
                encoder.observation_shape,
                has_extras=case.observation != "image",
                truncates=case.ending == "truncated",
                container=case.observation if case.observation in CONTAINERS else "dict",
                action_space=case.action_space,
            )
            for env in range(n_envs)
        ]
        self._case, self._encoder = case, encoder
        self._moments = [[Moment(env, -1, 0)] for env in range(n_envs)]
        self._actions: list[list[Any]] = [[] for _ in range(n_envs)]
        self._latents: dict[Moment, NDArray[np.float32]] = {}
        self._errors: list[float] = []
        self._changes: list[float] = []
        self._steps = self._final_observations = self._leaks = 0

    def begin(self, env: int, observation: Any) -> None:
        """Compare the first observation of an episode."""
        self._moments[env] = [Moment(env, self._moments[env][-1].episode + 1, 0)]
        self._actions[env] = []
        self._leaks += self.compare(env, observation) > TOLERANCE

    def act(self, env: int, action: Any, observation: Any, ended: bool) -> None:
        """Compare the observation after an action; it may be the last of an episode."""
        last = self._moments[env][-1]
        self._moments[env].append(last.next())
        self._actions[env].append(action)
        self._steps += 1
        self._final_observations += ended
        self.compare(env, observation)
        change = self._latent(self._moments[env][-1]) - self._latent(last)
        self._changes.append(float(np.abs(change).max()))

    def compare(self, env: int, observation: Any) -> float:
        """Compare an observation with the current expected one; returns the largest difference."""
        expected = self._expected(env)
        if self._case.observation == "dict":
            moment = self._moments[env][-1]
            right = np.array_equal(observation["speed"], moment.speed())
            right &= int(observation["gear"]) == moment.gear() and len(observation) == 3
            observation = observation[LATENT] if right else np.full_like(expected, np.inf)
        fits = observation.shape == expected.shape and observation.dtype == np.float32
        self._errors.append(float(np.abs(observation - expected).max()) if fits else np.inf)
        return self._errors[-1]

    def result(self) -> CaseResult:
        """Summarise all comparisons."""
        leaks = self._leaks + abs(self._steps - sum(env.steps for env in self.envs))
        return CaseResult(
            max_error=max(self._errors),
            observations=len(self._errors),
            final_observations=self._final_observations,
            leaks=leaks,
            min_change=min(self._changes),
        )

    def _latent(self, moment: Moment) -> NDArray[np.float32]:
        if moment not in self._latents:
            image = moment.image(self._encoder.observation_shape)
            self._latents[moment] = self._encoder.encode_observations(image[None])[0]
        return self._latents[moment]

    def _expected(self, env: int) -> NDArray[np.float32]:
        case, moments = self._case, self._moments[env]
        stacked = [*[moments[0]] * (case.stack - 1), *moments][-case.stack :]
        past = [_action_numbers(case.action_space, action) for action in self._actions[env]]
        zeros = np.zeros(_ACTION_WIDTHS[case.action_space])
        past = [*[zeros] * case.actions, *past]
        parts: list[NDArray[Any]] = [*map(self._latent, stacked), *past[len(past) - case.actions :]]
        if case.observation in ("flatten", *CONTAINERS):
            parts += [np.eye(3)[moments[-1].gear()], moments[-1].speed()]
        return np.concatenate(parts).astype(np.float32)


_ACTION_WIDTHS = {"Box": 2, "Discrete": 3, "MultiDiscrete": 5, "MultiBinary": 2}


def _action_numbers(space: str, action: Any) -> NDArray[Any]:
    """Expected numbers of an action of one of ACTION_SPACES, without rl_vae.wrappers."""
    match space:
        case "Box":
            numbers: NDArray[Any] = np.asarray(action) / 2
        case "Discrete":
            numbers = np.eye(3)[int(action) + 1]
        case "MultiDiscrete":
            numbers = np.concatenate([np.eye(2)[action[0]], np.eye(3)[action[1]]])
        case _:
            numbers = np.asarray(action)
    return numbers
