"""Commands on folders of any kind: verify."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from rl_vae.cli.command import Command
from rl_vae.system import files, strict_json
from rl_vae.system.outputs import output_path
from rl_vae.system.provenance import machine, package_versions
from rl_vae.verify import Verification, repair_folder, verify_folder


@dataclass(kw_only=True)
class Verify(Command):
    """The exit status is 2 if something is damaged."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of a dataset, a model, an agent or a comparison, or FOLDER.partial of an
    interrupted training."""
    repair: bool = False
    """Keep what is good: remove damaged shards, so that collecting again makes them; write a
    damaged encoder.onnx or README.md again. Without it nothing is changed."""
    json: Path | None = None
    """JSON file for the result."""

    def run(self) -> int:
        """Check, repair if wanted, print the findings."""
        repaired: tuple[str, ...] = ()
        if self.repair:
            repaired, result = repair_folder(self.path)
        else:
            result = verify_folder(self.path)
        for sentence in repaired:
            print(f"REPAIRED {sentence}")
        print(result)
        if self.json is not None:
            path = output_path(self.json)
            files.make_folder(path.parent)
            strict_json.write_json(path, _as_json(result, repaired))
        return 2 if result.findings else 0


def _as_json(result: Verification, repaired: tuple[str, ...]) -> dict[str, object]:
    figures = {"damaged": len(result.findings), "repaired": len(repaired)}
    return {
        "figures": {**figures, "files": result.files, "bytes": result.bytes},
        "seeds": [],
        "kind": result.kind,
        "findings": [
            {"path": str(finding.path), "damage": finding.damage, "salvage": finding.salvage}
            for finding in result.findings
        ],
        "repaired": list(repaired),
        "notes": list(result.notes),
        "machine": machine(),
        "versions": package_versions(),
    }
