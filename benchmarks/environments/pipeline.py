"""The whole pipeline on one environment of table.toml; check_environments.py starts this script.

    python pipeline.py ROW OUT

ROW is the environment's table as JSON. OUT/result.json holds what came of each stage; OUT/raw.png
is an image that plain Gymnasium gives, and OUT/frame.png the frame that rl_vae makes of the same
moment. The exported agent is played by the loop of docs/guides/deploy.md, as it stands there.
"""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from plain import walk  # type: ignore[import-not-found]  # the folder of a script is on the path

import rl_vae
from rl_vae.system.process_settings import configure_process

HERE = Path(__file__).resolve().parent
PROGRAM_PAGE = HERE.parents[1] / "docs" / "guides" / "deploy.md"
PLAIN = dict(os.environ)
"""Environment variables before rl_vae changes them."""
N_FRAMES, SEED = 512, 7
SHOWN = 1
"""Number of the moment whose pictures are kept."""
RECIPE = rl_vae.Recipe(
    "PPO",
    2048,
    n_envs=2,
    stack=2,
    extras="drop",
    hyperparameters={"n_steps": 256, "batch_size": 64, "n_epochs": 2},
)


def main() -> None:
    row, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    configure_process()
    facts: dict[str, Any] = {"name": row["name"], "seconds": {}, "error": "not finished"}
    for name, stage in STAGES.items():
        began = time.perf_counter()
        try:
            facts |= stage(row, out)
        except Exception as error:
            message = " ".join(str(error).split())
            facts["error"] = f"{name}: {type(error).__name__}: {message}"
            traceback.print_exc()
            break
        finally:
            facts["seconds"][name] = round(time.perf_counter() - began, 1)
            (out / "result.json").write_text(json.dumps(facts, indent=1))
    else:
        facts["error"] = None
    (out / "result.json").write_text(json.dumps(facts, indent=1))


def compare_pictures(row: dict[str, Any], out: Path) -> dict[str, Any]:
    """Compare frames of rl_vae with pictures of plain Gymnasium at the same moments.

    Both environments get the same seed and the same actions. Plain Gymnasium runs in a process of
    its own that does not import rl_vae, in the environment variables of the row.
    """
    spec = rl_vae.FrameSpec(**row.get("spec", {}))
    env: Any = rl_vae.make_env(row["id"], env_kwargs=row.get("kwargs", {}), **row.get("pixels", {}))
    source = env.source
    frames = [spec.apply(image) for image in walk(env)]
    env.close()

    # Pictures of the same moments without rl_vae.
    place = "render" if source.pixels == "render" else json.dumps(source.paths[0])
    arguments = [json.dumps(row), place, str(out / "plain")]
    subprocess.run([sys.executable, str(HERE / "plain.py"), *arguments], check=True, env=PLAIN)
    raw = np.load(out / "plain.npz")["pictures"]
    (out / "plain.npz").unlink()
    size, pictures = (spec.width, spec.height), source.conversions[0].apply_batch(raw)
    expected = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    shape = np.stack(frames).shape
    difference = np.abs(np.stack(frames).astype(float) - np.reshape(expected, shape)).max()

    save_picture(out / "raw.png", pictures[SHOWN])
    save_picture(out / "frame.png", frames[SHOWN])
    facts = {
        "source": source.describe().partition(", ")[0],
        "raw_shape": list(raw[SHOWN].shape),
        "conversion": f"{source.conversions[0].describe()}, resized to {size[1]} x {size[0]}",
        "looked_at": len(frames),
        "difference": difference,
        "mean": float(np.mean(frames)),
    }
    if difference > 1 or not facts["mean"]:
        raise ValueError(f"frames differ from plain pictures, or are black: {facts}")
    return facts


def save_picture(path: Path, image: Any) -> None:
    cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def parallel(row: dict[str, Any]) -> dict[str, Any]:
    """Number of environments and of worker processes."""
    one = row.get("one_instance", False)
    return {"n_envs": 1, "workers": 1} if one else {"n_envs": None, "workers": 2}


def collect(row: dict[str, Any], out: Path) -> dict[str, Any]:
    data = rl_vae.collect_frames(
        row["id"],
        out / "data",
        n_frames=N_FRAMES,
        spec=rl_vae.FrameSpec(**row.get("spec", {})),
        **parallel(row),
        env_kwargs=row.get("kwargs", {}),
        progress=False,
        **row.get("pixels", {}),
    )
    frames = np.asarray(data.frames(np.arange(N_FRAMES)))
    return {"frames": N_FRAMES, "distinct": len({frame.tobytes() for frame in frames})}


def train_vae(row: dict[str, Any], out: Path) -> dict[str, Any]:
    rl_vae.train_vae(
        rl_vae.FrameDataset.open(out / "data"),
        out / "vae",
        rl_vae.VAEConfig(latent_dim=8),
        rl_vae.TrainConfig(steps=40, batch_size=32),
        progress=False,
    )
    return {}


def train_agent(row: dict[str, Any], out: Path) -> dict[str, Any]:
    trained = rl_vae.train_agent(
        row["id"],
        out / "vae",
        out / "agent",
        dataclasses.replace(RECIPE, n_envs=parallel(row)["n_envs"] or RECIPE.n_envs),
        env_kwargs=row.get("kwargs", {}),
        evaluations=0,
        workers=parallel(row)["workers"],
        progress=False,
    )
    return {"steps": trained.steps}


def evaluate(row: dict[str, Any], out: Path) -> dict[str, Any]:
    result = rl_vae.evaluate_agent(out / "agent", episodes=2, **parallel(row))
    return {"mean_return": result.mean}


def film(row: dict[str, Any], out: Path) -> dict[str, Any]:
    from rl_vae.agents.film import film_agent

    agent = rl_vae.Agent.load(out / "agent")
    pictures = film_agent(agent, seed=SEED, max_steps=50).images
    cv2.imwrite(str(out / "film.png"), pictures[SHOWN][..., ::-1])
    return {"pictures": len(pictures)}


def play_export(row: dict[str, Any], out: Path) -> dict[str, Any]:
    """Play the exported agent by the program in docs/guides/deploy.md."""
    rl_vae.export_agent(out / "agent", out / "agent.onnx")
    blocks = re.findall(r"```python\n(.*?)```", PROGRAM_PAGE.read_text(), re.DOTALL)
    (program,) = [block for block in blocks if "InferenceSession" in block]
    names: dict[str, Any] = {}
    exec(program.replace('"agent.onnx"', repr(str(out / "agent.onnx"))), names)
    return {"played_steps": names["step"], "played_return": names["total"]}


STAGES: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "pictures": compare_pictures,
    "collect": collect,
    "train-vae": train_vae,
    "train-agent": train_agent,
    "evaluate": evaluate,
    "film": film,
    "export": play_export,
}

if __name__ == "__main__":
    main()
