"""Registry of environment engines: choose one by name, explain the choice, open environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rl_vae.envs import envpool_engine, gymnasium_engine, vector_engine
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.envs.source import EnvSource
from rl_vae.envs.vector_env import Engine, PixelVectorEnv, VectorEnvConfig
from rl_vae.errors import ConfigError, EnvironmentFault
from rl_vae.frames import FrameSpec
from rl_vae.system.processes import TIMEOUT

EngineName = Literal["auto", "envpool", "gymnasium"]
"""Names that users type; "auto" takes the first suitable engine of ENGINES."""

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (envpool_engine.ENGINE, gymnasium_engine.ENGINE, vector_engine.ENGINE)
}
"""All engines by name, in the order in which "auto" tries them."""


def make_engine(
    env: Any,
    num_envs: int,
    *,
    engine: EngineName = "auto",
    workers: int | None = None,
    spec: FrameSpec | None = None,
    frame_skip: int = 1,
    pixels: PixelOptions | PixelSource | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    timeout: float = TIMEOUT,
    extras: bool = False,
) -> PixelVectorEnv:
    """Open environments that step together.

    Args:
        env: An environment, as in `make_env`, or an EnvSource.
        num_envs: Number of environments, at least 1.
        engine: "envpool" (C++ threads), "gymnasium" (processes), or "auto": EnvPool if it is
            installed and has this id with RGB images, else Gymnasium. Only Gymnasium gives
            factors and extras. EnvPool may render other pixels than Gymnasium.
        workers: Number of threads or processes; None: the number of cores. With 1, the
            environments of Gymnasium live in this process. Results do not depend on this number.
        spec: Applied to every image in the process that makes the image.
        frame_skip: Number of steps per action, at least 1.
        pixels: Where the pixels come from; None: as `make_env` finds them.
        env_kwargs: Keyword arguments for the environment. "auto" then takes Gymnasium.
        timeout: Seconds after which a step in a worker process fails. Steps in this process (one
            worker, or EnvPool) have no time limit.
        extras: Whether to return the other entries of a Dict observation beside the images.

    Raises:
        EnvironmentFault: if the environment cannot be opened.
        ObservationError: if its images do not fit the spec.
        ConfigError: if an argument is out of range.
    """
    source = EnvSource.of(env, env_kwargs)
    config = VectorEnvConfig(
        env=source,
        num_envs=num_envs,
        workers=workers,
        spec=spec,
        frame_skip=frame_skip,
        pixels=pixels or PixelOptions(),
        timeout=timeout,
        extras=extras,
    )
    check_given(source, num_envs, workers)
    return ENGINES[resolve_engine(source, engine, has_options(pixels))].open(config)


def check_given(env: EnvSource, num_envs: int, workers: int | None) -> None:
    """Check that environments which exist already are as many as are needed, in this process.

    Raises:
        ConfigError: if they are not.
    """
    given = env.num_envs
    if given is None or (num_envs == given and (workers or 1) == 1):
        return
    one = "There is one {}: an environment was given."
    several = "There are {1} environments of {0}: a vector environment was given."
    raise ConfigError(
        (one if given == 1 else several).format(env.name, given),
        expected="one environment, in this process" if given == 1 else f"{given}, in this process",
        got=f"{num_envs} environments, workers={workers}",
        remedy=f"set n_envs={given} and leave workers out, or give the function that makes "
        "environments",
    )


def resolve_engine(env: Any, engine: EngineName, gymnasium_only: object = None) -> str:
    """Resolve "auto" to the name of an engine.

    Args:
        env: An environment, as in `make_env`, or an EnvSource.
        engine: Name of an engine, or "auto".
        gymnasium_only: A true value if pixel options are given or raw observations are needed.
            "auto" then, and for an environment with `env_kwargs`, takes only engines that open
            environments with `gymnasium.make`.

    Raises:
        EnvironmentFault: if the named engine cannot open the environment.
        ConfigError: if the name is unknown.
    """
    source = EnvSource.of(env)
    if engine == "auto":
        return next(
            name
            for name, candidate in ENGINES.items()
            if _find_obstacle(candidate, source, gymnasium_only) is None
        )
    if engine not in ENGINES:
        raise ConfigError(
            "Unknown engine.",
            expected=f"auto or one of {', '.join(ENGINES)}",
            got=repr(engine),
            remedy="choose 'auto'",
        )
    obstacle = ENGINES[engine].find_obstacle(source)
    if obstacle is not None:
        raise EnvironmentFault(
            f"The engine {engine} cannot open {source.name}: {obstacle}.",
            expected="an installed engine that has this environment with RGB images",
            got=source.name,
            remedy="choose the engine 'auto' or 'gymnasium'",
        )
    return engine


def has_options(pixels: PixelOptions | PixelSource | None) -> bool:
    """Whether pixels need an engine that opens environments with `gymnasium.make`."""
    if isinstance(pixels, PixelSource):
        return not pixels.is_plain
    return pixels is not None and not pixels.is_default


def explain_engine(env: Any, engine: EngineName, gymnasium_only: object = None) -> str:
    """Explain in one line which engine `resolve_engine` takes and why.

    Raises:
        EnvironmentFault: as `resolve_engine`.
        ConfigError: as `resolve_engine`.
    """
    source = EnvSource.of(env)
    name = resolve_engine(source, engine, gymnasium_only)
    if engine != "auto":
        return f"engine {name}, as requested"
    reasons = [ENGINES[name].summary]
    for other, candidate in ENGINES.items():
        if other == name:
            break
        obstacle = _find_obstacle(candidate, source, gymnasium_only)
        reasons.append(f"{other} cannot be used: {obstacle}")
    return f"engine {name}: {'; '.join(reasons)}"


def _find_obstacle(engine: Engine, env: EnvSource, gymnasium_only: object) -> str | None:
    if (env.kwargs or gymnasium_only) and not engine.gymnasium_arguments:
        return "it does not take the env_kwargs of gymnasium.make, nor options of pixels"
    return engine.find_obstacle(env)
