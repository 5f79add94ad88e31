"""Errors for environments that cannot be opened or rendered, with the remedy that fits."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

import gymnasium as gym

from rl_vae.errors import EnvironmentFault
from rl_vae.frames import MIN_SIZE

EXTRAS = {
    "ale_py": "atari",
    "Box2D": "box2d",
    "pygame": "box2d",
    "minigrid": "minigrid",
    "envpool": "envpool",
}
"""Extra of rl-vae that installs a package, by the name of its module."""
PREFIXES = {"ALE/": "ale_py", "MiniGrid-": "minigrid", "BabyAI-": "minigrid"}
"""Module that registers the environments of a prefix."""
_DISPLAY = re.compile(
    r"display|GLFW|GLX|\bEGL\b|X11|\bXlib|video ?(device|driver|mode)|OpenGL.*(context|platform)"
    r"|gladLoadGL|\bOSMesa\b",
    re.IGNORECASE,
)
_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*)|(\w+\.(?:dylib|dll))")


def opening_error(name: str, kind: str, error: BaseException) -> EnvironmentFault:
    """The error for an environment that cannot be opened.

    Args:
        name: Id or name of the environment.
        kind: What the user gave: id, spec, function or instance.
        error: What was raised.
    """
    expected, remedy = _explain(name, kind, error)
    text = str(error).strip() or type(error).__name__
    return EnvironmentFault(
        f"The environment {name!r} cannot be opened: {type(error).__name__}: {text}",
        expected=expected,
        got=repr(name),
        remedy=remedy,
    )


def rendering_error(name: str, error: BaseException) -> EnvironmentFault:
    """The error for an environment whose `render()` fails.

    Args:
        name: Id or name of the environment.
        error: What was raised.
    """
    expected = f"images of at least {MIN_SIZE} x {MIN_SIZE} x 3 from render()"
    remedy = "check that render() returns an image if render_mode is 'rgb_array'"
    causes = [f"{type(cause).__name__}: {cause}" for cause in _causes(error)]
    missing = (ImportError, gym.error.DependencyNotInstalled)
    if any(isinstance(cause, missing) for cause in _causes(error)):  # CartPole without pygame
        expected, remedy = _explain(name, "id", error)
    elif any(_DISPLAY.search(cause) for cause in causes):
        expected, remedy = _NO_DISPLAY
    return EnvironmentFault(
        f"{name} cannot be rendered: {type(error).__name__}: {error}",
        expected=expected,
        got=type(error).__name__,
        remedy=remedy,
    )


def _explain(name: str, kind: str, error: BaseException) -> tuple[str, str]:
    """What was expected, and the remedy."""
    for cause in _causes(error):
        text = f"{type(cause).__name__}: {cause}"
        if isinstance(cause, gym.error.UnregisteredEnv | gym.error.Error) and _is_lookup(cause):
            return _explain_id(name)
        if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
            return _PORT
        if re.search(r"address already in use|port \d* ?(is )?(already )?in use", text, re.I):
            return _PORT
        library = _LIBRARY.search(text)
        if library and isinstance(cause, ImportError | OSError):
            return "every library that the environment loads", (
                f"install the system's package with {library[0]}; apt-file search {library[0]} "
                "names it"
            )
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            return _explain_package(name, cause.name)
        if isinstance(cause, gym.error.DependencyNotInstalled):
            return "every package that the environment imports", _dependency(str(cause))
        if _DISPLAY.search(text):
            return _NO_DISPLAY
    if isinstance(error, TypeError) and "argument" in str(error):
        return "arguments that the environment takes", "correct env_kwargs"
    what = "function" if kind == "function" else "constructor of the environment"
    return f"a {what} that raises nothing", (
        f"correct the error, which the {what} raises, or its env_kwargs; if the simulator allows "
        "one instance, use n_envs=1 and workers=1"
    )


_NO_DISPLAY = (
    "a display, or a way to draw without one",
    "start the program with xvfb-run -a, or choose drawing without a display: MUJOCO_GL=egl "
    "(MuJoCo), PYGLET_HEADLESS=1 (pyglet), SDL_VIDEODRIVER=offscreen (pygame)",
)
_PORT = (
    "a free port",
    "end the program that uses the port; if the simulator always takes the same one, use "
    "n_envs=1 and workers=1",
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _is_lookup(error: BaseException) -> bool:
    """Whether an id was not found, or has no valid form."""
    return isinstance(error, gym.error.UnregisteredEnv) or "Malformed" in str(error)


def _explain_id(name: str) -> tuple[str, str]:
    return (
        "an id that is registered in this process, such as CarRacing-v3",
        "check the spelling; an id that another program or a notebook registers must be in a "
        "module, named with the id: 'module:Id-v0'; or give the function that makes the "
        "environment",
    )


def _explain_package(name: str, module: str) -> tuple[str, str]:
    if ":" in name and name.partition(":")[0].split(".")[0] == module.split(".")[0]:
        return (
            f"a module {module} that can be imported",
            f"check the spelling, or start in the folder of {module}.py, or install its package",
        )
    top = module.split(".")[0]
    extra = EXTRAS.get(top)
    return "every package that the environment imports", (
        f"pip install 'rl-vae[{extra}]'" if extra else f"install the package that has {top!r}"
    )


def _dependency(text: str) -> str:
    """Remedy for Gymnasium's own text on a missing package, which names a command."""
    for module, extra in EXTRAS.items():
        if module.lower() in text.lower():
            return f"pip install 'rl-vae[{extra}]'"
    command = re.search(r"pip install [^`\n]+", text)
    return command[0].strip(" .") if command else "install the package that the error names"
