"""The house: which way imports go, which names are public, what the wheel holds."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "rl_vae"

# The flow. A module imports only from those before it; `__init__` imports from any.
FLOW = (
    "errors",
    "files",
    "frames",
    "envs",
    "workers",
    "engines",
    "dataset",
    "joined",
    "exploration",
    "collect",
    "streaming",
    "sprites",
    "framing",
    "graph",
    "networks",
    "densities",
    "terms",
    "objectives",
    "adversaries",
    "vae",
    "diagnostics",
    "reference",
    "pictures",
    "artifact",
    "states",
    "checkpoint",
    "arithmetic",
    "parallel",
    "updates",
    "captured",
    "training",
    "sweep",
    "encoder",
    "anomalies",
    "classifier",
    "gallery",
    "drift",
    "history",
    "codes",
    "contract",
    "observer",
    "wrappers",
    "extractor",
    "watching",
    "sb3",
    "sb3_watching",
    "conformance",
    "recipe",
    "agent",
    "deployment",
    "policy",
    "evaluation",
    "disentanglement",
    "resampling",
    "aggregates",
    "probes",
    "baselines",
    "stand_ins",
    "scorecard",
    "rivals",
    "lineup",
    "cell",
    "standings",
    "verdicts",
    "comparison",
    "report",
    "inspection",
    "verification",
    "repair",
    "demo",
    "stopping",
    "cli",
)


def imports(path: Path, root: Path = ROOT) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a file imports, wherever in the file it does."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*parent, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def module_of(path: Path, root: Path = ROOT) -> str:
    """The module, or the sub-package of rl_vae, that a file belongs to."""
    return path.relative_to(root / "rl_vae").with_suffix("").parts[0]


def breaches(root: Path) -> list[str]:
    """Every import inside root/rl_vae that goes against the flow, as a sentence."""
    order = {name: place for place, name in enumerate([*FLOW, "__init__"])}
    found = []
    for path in sorted((root / "rl_vae").rglob("*.py")):
        here, name = module_of(path, root), path.relative_to(root)
        if here not in order:
            found.append(
                f"{name}: not in FLOW; give it its place in tests/test_house.py and ARCHITECTURE.md"
            )
            continue
        for line, imported in imports(path, root):
            first, *rest = imported.split(".")
            if first != "rl_vae":
                continue
            # What is not a module of the package is a name that __init__ gathers.
            there = rest[0] if rest and rest[0] in order else "__init__"
            if order[there] > order[here]:
                found.append(f"{name}:{line}: {here} imports {imported}, which stands to its right")
    return found


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_imports_go_one_way() -> None:
    """A module imports what stands to its left in the flow, never what stands to its right."""
    assert python_files("rl_vae"), "rl_vae holds no module"
    found = breaches(ROOT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "source", "breach"),
    [
        ("vae.py", "from rl_vae.models.networks import Encoder", None),
        ("vae.py", "import numpy, torch.nn", None),
        ("vae.py", "import rl_vae.training.train", "rl_vae.training.train"),
        ("vae.py", "from rl_vae import training", "rl_vae.training.train"),
        ("vae.py", "from . import training", "rl_vae.training.train"),
        ("vae.py", "from .training import train_vae", "rl_vae.training.train.train_vae"),
        ("vae.py", "def f():\n    from rl_vae.cli import main", "rl_vae.cli.commands"),
        ("vae.py", "from rl_vae import FrameSpec", "rl_vae.FrameSpec"),
        ("report/page.py", "from .figures import bars", None),
        ("report/page.py", "from ..vae import VAE", None),
        ("report/page.py", "from ..cli import main", "rl_vae.cli.commands"),
        ("__init__.py", "from rl_vae.cli import main", None),
        ("utils.py", "", "not in FLOW"),
    ],
)
def test_every_form_of_import_is_read(
    tmp_path: Path, file: str, source: str, breach: str | None
) -> None:
    """An import against the flow is found in whatever form and place it is written."""
    path = tmp_path / "rl_vae" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    found = breaches(tmp_path)
    assert len(found) == (breach is not None)
    assert breach is None or breach in found[0]


def test_only_frames_and_pictures_import_cv2() -> None:
    """OpenCV is known to frames.py and pictures.py, and to no other module."""
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in python_files("rl_vae")
        for line, imported in imports(path)
        if imported.split(".")[0] == "cv2" and module_of(path) not in ("frames", "pictures")
    ]
    assert not found


def test_importing_the_library_leaves_stable_baselines3_alone() -> None:
    """`import rl_vae` does not import Stable-Baselines3."""
    code = "import sys, rl_vae; sys.exit('stable_baselines3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "rl_vae imports stable_baselines3"


def test_public_names() -> None:
    """`rl_vae.__all__` is sorted, names nothing twice, and every name in it resolves."""
    import rl_vae

    names = list(rl_vae.__all__)
    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(rl_vae, name)] == []


def test_scripts_and_agents_are_imported_by_nobody() -> None:
    """No file imports a script or a recipe by name: scripts are run, recipes loaded by path."""
    closed = {"agents", "scripts", *(path.stem for path in python_files("agents", "scripts"))}
    found = [
        f"{path.relative_to(ROOT)}:{line}: {imported}"
        for path in python_files("rl_vae", "scripts", "agents", "tests")
        for line, imported in imports(path)
        if imported.split(".")[0] in closed
    ]
    assert not found, "\n".join(found)


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
    assert {"rl_vae/report/explorer.js", "rl_vae/report/style.css"} <= names


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
    found = [
        f"{name}: {match.group().decode()}"
        for name in listed.split("\0")
        if name and (ROOT / name).is_file()
        for match in [pattern.search((ROOT / name).read_bytes())]
        if match
    ]
    assert not found, "\n".join(found)


def test_constraints_are_exact() -> None:
    """constraints.txt pins what rl_vae, its extras and all that they bring are installed as, and
    nothing else; every version is in the range that whoever asks for it allows."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {
        canonicalize_name(name): version
        for name, version in (line.split("==") for line in lines if not line.startswith("#"))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    waiting = [("rl_vae", "", Requirement(line)) for group in groups for line in group]
    seen: set[tuple[str, str]] = set()
    while waiting:
        asker, extra, requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        found = distribution(requirement.name)
        version = found.version.split("+")[0]
        name = canonicalize_name(requirement.name)
        assert pinned.get(name) == version, f"{name} {version}, wanted by {asker}"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{asker} wants {requirement}, not {version}"
        )
        for part in ("", *requirement.extras):
            if (name, part) not in seen:
                seen.add((name, part))
                waiting += [(name, part, Requirement(line)) for line in found.requires or ()]
    assert set(pinned) - {name for name, _ in seen} == set()
