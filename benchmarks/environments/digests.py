"""Digests of datasets of one environment; check_environments.py --digests starts this script.

    python digests.py ROW OUT

ROW is the environment's table as JSON. OUT/result.json gets, by engine, the digest of each
collection: with 1, 2 and 4 workers without an interruption, and with 2 workers after one and after
two kills (SIGKILL) and resumes. An engine that refuses the environment, or says that its seed does
not determine it (SeedWarning), gives "refused".
"""

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

N_FRAMES = 240
SHARD_ROWS = 96
"""Limit of a shard's rows: small, so that there are four shards to kill between."""
REFUSED = 3
"""Exit status of a collection that rl_vae refuses, or warns of."""


def main() -> None:
    row, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    facts: dict[str, Any] = {"error": None, "digests": {}}
    for engine in row.get("engines", ["gymnasium"]):
        digests: dict[str, str] = {}
        for name, workers, kills in (
            ("1 worker", 1, 0),
            ("2 workers", 2, 0),
            ("4 workers", 4, 0),
            ("1 kill", 2, 1),
            ("2 kills", 2, 2),
        ):
            arguments = [json.dumps(row), engine, str(workers), str(out / f"{engine}-{name}")]
            status, text = collect(arguments, kills)
            if status == REFUSED:
                digests = {"refused": text}
                break
            if status:
                facts["error"] = f"{engine}, {name}: {text[-300:]}"
                break
            digests[name] = text
        facts["digests"][engine] = digests
        if len(set(digests.values())) > 1:
            facts["error"] = f"{engine}: digests differ"
    (out / "result.json").write_text(json.dumps(facts, indent=1))


def collect(arguments: list[str], kills: int) -> tuple[int, str]:
    """Collect in a process that is killed so many times; return its status and its last line."""
    command = [sys.executable, __file__, "collect", *arguments]
    manifest = Path(arguments[-1]) / "manifest.jsonl"
    for kill in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            while process.poll() is None and shards(manifest) <= kill:
                time.sleep(0.01)
            process.kill()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, (done.stdout.strip().splitlines() or [""])[-1]


def shards(manifest: Path) -> int:
    """Number of shards that are committed."""
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


def collect_once(row: dict[str, Any], engine: Any, workers: int, out: Path) -> None:
    import rl_vae
    from rl_vae.data import shards as module
    from rl_vae.errors import RlVaeError

    module.SHARD_ROWS = SHARD_ROWS
    warnings.simplefilter("error", rl_vae.SeedWarning)
    kwargs = {**row.get("kwargs", {}), **row.get("digests_kwargs", {})}
    if engine == "envpool":
        kwargs = row.get("envpool_kwargs", {})
    try:
        dataset = rl_vae.collect_frames(
            row["id"],
            out,
            n_frames=N_FRAMES,
            spec=rl_vae.FrameSpec(**row.get("spec", {})),
            engine=engine,
            workers=workers,
            n_envs=1 if row.get("one_instance") else None,
            env_kwargs=kwargs,
            progress=False,
            **row.get("pixels", {}),
        )
    except (RlVaeError, rl_vae.SeedWarning) as error:
        print(" ".join(str(error).split()))
        sys.exit(REFUSED)
    print(dataset.digest)


if __name__ == "__main__":
    if sys.argv[1] == "collect":
        collect_once(json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()
