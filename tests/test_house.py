"""The house: arrows between packages, walls for libraries, sizes, names, and what the wheel holds.

Every check of the tree is a function of a root folder that returns sentences; an empty list means
that the tree is right. So each check is also run on a copy of the tree that was broken on purpose.
"""

import ast
import functools
import graphlib
import importlib
import io
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

# Which package imports from which: exactly these arrows exist. Every package may import
# the modules in BOTTOM.
ARROWS = {
    "system": "",
    "executors": "system",
    "envs": "system",
    "data": "system executors envs",
    "sprites": "system data",
    "formats": "system envs data",
    "objectives": "system",
    "models": "system envs data objectives",
    "trackers": "system",
    "training": "system executors data objectives models trackers",
    "wrappers": "envs models",
    "sb3": "envs models wrappers",
    "agents": "system envs data models trackers wrappers sb3",
    "metrics": "system",
    "analysis": "system executors envs data objectives models training wrappers agents metrics",
    "verify": "system data models training agents analysis",
    "hub": "system data formats models agents analysis verify",
    "cli": "system executors envs data sprites objectives models training agents analysis verify "
    "formats hub",
}
BOTTOM = ("errors", "constraints", "frames")

# Libraries that stay behind a wall, and the files or folders of rl_vae that may import them.
WALLS = {
    "stable_baselines3": ["sb3/", "agents/", "analysis/"],
    "torch": [
        "objectives/",
        "models/",
        "trackers/",
        "training/",
        "wrappers/",
        "sb3/",
        "agents/",
        "analysis/",
    ],
    "cv2": ["frames.py", "models/pictures.py"],
    "envpool": ["envs/envpool_engine.py"],
    "onnxruntime": ["models/runtime.py", "models/precision.py"],
    "av": ["formats/videos.py"],
    "h5py": ["formats/hdf5.py"],
    "minari": ["formats/minari_folder.py"],
    "huggingface_hub": ["system/hub.py", "hub/"],
    "timm": ["models/pretrained.py"],
    "tqdm": ["system/progress.py"],
    "fsspec": ["system/remote.py"],
    "zstandard": ["data/compressed_rows.py"],
    "ray": ["executors/ray_executor.py"],
    "pyarrow": ["formats/tables.py", "formats/lerobot.py"],
    "optuna": ["analysis/tuning/"],
    "mlflow": ["trackers/mlflow_tracker.py"],
    "wandb": ["trackers/wandb_tracker.py"],
    "tyro": ["cli/"],
    "sklearn": ["training/baselines.py", "metrics/predictors.py", "analysis/detection.py"],
    "filelock": ["system/locks.py"],
    "jinja2": ["analysis/report/", "cli/demo_page.py"],
}

# Extras that a development install leaves out, for their size: without them tests are skipped.
NOT_INSTALLED = {"mlflow", "ray", "wandb"}

# Files of more than 300 lines, with the reason.
LONG_FILES: dict[str, str] = {}
MOST_MODULES, MOST_LINES, MOST_FUNCTION, MOST_NESTING = 5, 300, 60, 4

# Names that gave way to the field's terms.
GONE = set(
    re.findall(
        r"\w+",
        """
    Actor adversaries Arithmetic Artifact artifact Audit Captured Clock conformance Contract
    contract densities deployment diagnostics everyones Exploration exploration few finals found
    framing fresh ghosts halve Halves inspection lane lanes LaneStep lineup made meet Member
    Observer observer Others Parts Pass Plan pressure Probed quiet Rival rivals said Scene Seen
    Sight sight stand_in stand_ins Standings standings stopping strange Team team Terms told
    usual verdicts watch_latents whole
    """,
    )
)


def python_files(*folders: str, root: Path = ROOT) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


@functools.cache
def parsed(text: str) -> ast.Module:
    """The tree of a source: a file that one test changed is the only one to parse again."""
    return ast.parse(text)


def imports(path: Path, root: Path = ROOT) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, at whatever depth."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(parsed(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*parent, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def package_of(path: Path, root: Path) -> str:
    """The package, or the module at the top, that a file of rl_vae belongs to."""
    return path.relative_to(root / "rl_vae").with_suffix("").parts[0]


def wrong_arrows(root: Path) -> list[str]:
    """Imports between packages that ARROWS does not list, and listed ones that nobody uses."""
    allowed = {(one, other) for one, others in ARROWS.items() for other in others.split()}
    used, wrong = set(), []
    for path in python_files("rl_vae", root=root):
        here, name = package_of(path, root), path.relative_to(root)
        if here == "__init__":
            continue  # it gathers the public names
        for line, imported in imports(path, root):
            first, *rest = imported.split(".")
            if first != "rl_vae" or not rest or rest[0] == here:
                continue
            there = rest[0]
            if there in BOTTOM and (here not in BOTTOM or BOTTOM.index(there) < BOTTOM.index(here)):
                continue
            used.add((here, there))
            # A name that __init__ gathers would be an arrow in disguise.
            if (here, there) not in allowed and rest != ["__version__"]:
                wrong.append(f"{name}:{line}: {here} imports {imported}, which is not in ARROWS")
    wrong += [f"nobody uses the arrow {a} -> {b}" for a, b in sorted(allowed - used)]
    return wrong


def circles(root: Path) -> list[str]:
    """Circles of imports between the modules of a package."""
    wrong = []
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in python_files("rl_vae", root=root)
    }
    for package in ARROWS:
        graph: dict[str, set[str]] = {}
        for path in python_files(f"rl_vae/{package}", root=root):
            here = ".".join(path.relative_to(root).with_suffix("").parts)
            if path.name == "__init__.py":
                continue  # a door: it gathers names of the modules behind it
            for _, imported in imports(path, root):
                there = imported if imported in modules else imported.rpartition(".")[0]
                if there in modules and there != here:
                    graph.setdefault(here, set()).add(there)
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            wrong.append(f"a circle in {package}: {' -> '.join(error.args[1])}")
    return wrong


def breached_walls(root: Path) -> list[str]:
    """Imports of a library in a file that its wall does not admit."""
    return [
        f"{path.relative_to(root)}:{line}: {imported} stands behind a wall"
        for path in python_files("rl_vae", root=root)
        for line, imported in imports(path, root)
        for places in [WALLS.get(imported.split(".")[0])]
        if places is not None
        and not path.relative_to(root / "rl_vae").as_posix().startswith(tuple(places))
    ]


def private_names(path: Path) -> set[str]:
    """Private names that a file defines: functions, classes, constants, attributes."""
    names = set()
    for node in ast.walk(parsed(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("self", "cls")  # os._exit = ... defines no name of the file
        ):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    public = {"_asdict", "_fields", "_make", "_replace"}  # of named tuples, documented
    private = {name for name in names if name.startswith("_") and not name.startswith("__")}
    return private - public


def private_reads(root: Path) -> list[str]:
    """Private names of another file of rl_vae that a file imports or reads."""
    files = python_files("rl_vae", root=root)
    own = {path: private_names(path) for path in files}
    everybody = set().union(*own.values())
    wrong = []
    for path in files:
        name = path.relative_to(root)
        for line, imported in imports(path, root):
            last = imported.rpartition(".")[2]
            if imported.startswith("rl_vae.") and last.startswith("_") and last[1] != "_":
                wrong.append(f"{name}:{line}: imports the private {imported}")
        for node in ast.walk(parsed(path.read_text("utf-8"))):
            if not isinstance(node, ast.Attribute) or node.attr not in everybody - own[path]:
                continue
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                wrong.append(f"{name}:{node.lineno}: reads the private {node.attr}")
    return wrong


def nesting(node: ast.AST, depth: int = 0) -> int:
    kinds = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.AsyncFor, ast.AsyncWith)
    inside = [nesting(c, depth + isinstance(c, kinds)) for c in ast.iter_child_nodes(node)]
    return max([depth, *inside])


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of lines of a function without its docstring."""
    docstring = ast.get_docstring(node, clean=False)
    lines = (node.end_lineno or 0) - node.lineno + 1
    return lines - (docstring.count("\n") + 1 if docstring else 0)


def oversizes(root: Path) -> list[str]:
    """Modules at the top that are too many, files and functions that are too long or too deep."""
    top = sorted(path.name for path in (root / "rl_vae").glob("*.py"))
    wrong = [f"{len(top)} modules in rl_vae/: {top}"] if len(top) > MOST_MODULES else []
    for path in python_files("rl_vae", root=root):
        name, text = path.relative_to(root).as_posix(), path.read_text("utf-8")
        if text.count("\n") > MOST_LINES and name not in LONG_FILES:
            wrong.append(f"{name}: {text.count(chr(10))} lines")
        for node in ast.walk(parsed(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = body_lines(node)
            if lines > MOST_FUNCTION:
                wrong.append(f"{name}:{node.lineno}: {node.name} has {lines} lines")
            if nesting(node) > MOST_NESTING:
                wrong.append(f"{name}:{node.lineno}: {node.name} nests {nesting(node)} deep")
    return wrong


def unstaged(root: Path) -> list[str]:
    """Functions of more than 30 lines without a comment that names a stage."""
    wrong = []
    for path in python_files("rl_vae", root=root):
        text = path.read_text("utf-8")
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
        for node in ast.walk(parsed(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            last = node.end_lineno or 0
            if body_lines(node) > 30 and comments.isdisjoint(range(node.lineno, last + 1)):
                wrong.append(f"{path.relative_to(root)}:{node.lineno}: {node.name} has no comment")
    return wrong


def old_names(root: Path) -> list[str]:
    """Identifiers that gave way to the field's terms."""
    return [
        f"{path.relative_to(root)}:{token.start[0]}: {token.string}"
        for path in python_files("rl_vae", "agents", "tests", root=root)
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        if token.type == tokenize.NAME and token.string in GONE
    ]


def undescribed(root: Path) -> list[str]:
    """Packages whose docstring is not their line in ARCHITECTURE.md."""
    text = (root / "ARCHITECTURE.md").read_text("utf-8")
    wrong = []
    for package in ARROWS:
        path = root / "rl_vae" / package / "__init__.py"
        path = path if path.is_file() else root / "rl_vae" / f"{package}.py"
        docstring = (ast.get_docstring(parsed(path.read_text("utf-8"))) or "").split("\n")[0]
        if not docstring or docstring.rstrip(".") not in text:
            wrong.append(f"{package}: {docstring!r} is not in ARCHITECTURE.md")
    return wrong


CHECKS = (
    wrong_arrows,
    circles,
    breached_walls,
    private_reads,
    oversizes,
    unstaged,
    old_names,
    undescribed,
)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_the_tree_is_right(check: Callable[[Path], list[str]]) -> None:
    """The tree of this repository passes every check of the house."""
    assert python_files("rl_vae"), "rl_vae holds no module"
    wrong = check(ROOT)
    assert not wrong, "\n".join(wrong)


BREAKS: dict[str, tuple[Callable[[Path], list[str]], str, str]] = {
    "an arrow upwards": (wrong_arrows, "data/new.py", "from rl_vae.agents.agent import Agent"),
    "an arrow within a function": (
        wrong_arrows,
        "system/new.py",
        "def f():\n    from ..cli import main",
    ),
    "an arrow by the gathered names": (wrong_arrows, "envs/new.py", "from rl_vae import Agent"),
    "an arrow that is not listed": (
        wrong_arrows,
        "wrappers/new.py",
        "import rl_vae.training.train",
    ),
    "a package that is not listed": (wrong_arrows, "utils.py", "from rl_vae.system import files"),
    "a circle": (circles, "sprites/new.py", "from rl_vae.sprites import other"),
    "torch below objectives": (breached_walls, "data/new.py", "import torch.nn"),
    "SB3 in training": (breached_walls, "training/new.py", "from stable_baselines3 import PPO"),
    "OpenCV elsewhere": (breached_walls, "envs/new.py", "import cv2"),
    "a private import": (private_reads, "data/new.py", "from rl_vae.data.dataset import _secret"),
    "a private read": (private_reads, "data/new.py", "def f(x):\n    return x._secret_of_other"),
    "a sixth module": (oversizes, "new.py", ""),
    "a long file": (oversizes, "data/new.py", "x = 1\n" * 301),
    "a long function": (oversizes, "data/new.py", "def f():\n" + "    x = 1\n" * 61),
    "deep nesting": (
        oversizes,
        "data/new.py",
        "def f():\n" + "".join("    " * (n + 1) + "if f:\n" for n in range(5)) + "    " * 6 + "f()",
    ),
    "no comment": (unstaged, "data/new.py", "def f():\n" + "    x = 1\n" * 31),
    "an old name": (old_names, "data/new.py", "lanes = 3"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", BREAKS)
def test_a_broken_tree_is_noticed(fault: str, tmp_path: Path) -> None:
    """Each check of the house fails on a tree that breaks its rule."""
    check, file, source = BREAKS[fault]
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("rl_vae", "agents"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    before = check(tmp_path)
    (tmp_path / "rl_vae" / file).write_text(source)
    (tmp_path / "rl_vae/sprites/other.py").write_text(
        "from rl_vae.sprites import new\n\n\ndef _secret_of_other():\n    pass\n"
    )
    assert len(check(tmp_path)) > len(before)


def test_an_unused_arrow_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arrow that ARROWS lists and nobody uses is a fault of the list."""
    monkeypatch.setitem(ARROWS, "system", "envs")
    assert any("nobody uses the arrow system -> envs" in line for line in wrong_arrows(ROOT))


def test_importing_the_library_is_light() -> None:
    """`import rl_vae` imports neither torch nor Stable-Baselines3."""
    code = "import sys, rl_vae; print(*{'torch', 'stable_baselines3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", f"rl_vae imports {done.stdout}"


def test_public_names() -> None:
    """`rl_vae.__all__` is sorted, names nothing twice, and every name in it resolves."""
    import rl_vae

    names = list(rl_vae.__all__)
    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(rl_vae, name)] == []


@pytest.mark.parametrize("package", ["cli", "metrics", "sb3", "sprites"])
def test_public_packages(package: str) -> None:
    """Names are imported from a public package directly, and its `__all__` is sorted and whole."""
    names = list(importlib.import_module(f"rl_vae.{package}").__all__)
    assert names == sorted(set(names))
    done: dict[str, object] = {}
    exec(f"from rl_vae.{package} import {', '.join(names)}", done)
    assert set(names) <= set(done)


@pytest.mark.slow
def test_scripts_and_agents_are_imported_by_nobody() -> None:
    """No file imports a script or a recipe by name: scripts are run, recipes loaded by path."""
    closed = {"scripts", "benchmarks", *(path.stem for path in python_files("agents", "scripts"))}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {imported}"
        for path in python_files("rl_vae", "scripts", "agents", "tests")
        for line, imported in imports(path)
        if imported.split(".")[0] in closed
    ]
    assert not wrong, "\n".join(wrong)


def test_the_wheel_holds_rl_vae_only(tmp_path: Path) -> None:
    """The wheel's one top level beside its metadata is rl_vae, whole, and marked as typed."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    done = subprocess.run([*command, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("rl_vae-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rl_vae"}
    assert "rl_vae/py.typed" in names
    assert {path.relative_to(ROOT).as_posix() for path in python_files("rl_vae")} <= names
    data = [path for kind in ("*.j2", "*.js", "*.css") for path in (ROOT / "rl_vae").rglob(kind)]
    assert data and {path.relative_to(ROOT).as_posix() for path in data} <= names
    assert "rl_vae/agents/recipes/ppo.py" in names


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    """Nothing in the repository depends on where somebody's machine keeps its files."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    # safe.directory: a checkout may belong to another user than the one who tests it.
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    # Written in pieces, so that this file does not name them.
    places = "|".join(["work/", "opt/wheels", "opt/pypi", "tmp/venv"])
    pattern = re.compile(rf"(?<![\w.~*}}-])/(?:{places})".encode())
    wrong = [
        f"{name}: {match.group().decode()}"
        for name in listed.split("\0")
        if name and (ROOT / name).is_file()
        for match in [pattern.search((ROOT / name).read_bytes())]
        if match
    ]
    assert not wrong, "\n".join(wrong)


def test_constraints_are_exact() -> None:
    """constraints.txt pins what rl_vae, its extras and all that they bring are installed as, and
    nothing else, but not what a development install leaves out; every version is in the range that
    whoever asks for it allows."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {
        canonicalize_name(name): version
        for name, version in (line.split("==") for line in lines if not line.startswith("#"))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) > NOT_INSTALLED
    groups = [project["dependencies"], *(extras[name] for name in set(extras) - NOT_INSTALLED)]
    waiting = [("rl_vae", "", Requirement(line)) for group in groups for line in group]
    seen: set[tuple[str, str]] = set()
    while waiting:
        asker, extra, requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        installed = distribution(requirement.name)
        version = installed.version.split("+")[0]
        name = canonicalize_name(requirement.name)
        assert pinned.get(name) == version, f"{name} {version}, wanted by {asker}"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{asker} wants {requirement}, not {version}"
        )
        for part in ("", *requirement.extras):
            if (name, part) not in seen:
                seen.add((name, part))
                waiting += [(name, part, Requirement(line)) for line in installed.requires or ()]
    assert set(pinned) - {name for name, _ in seen} == set()
