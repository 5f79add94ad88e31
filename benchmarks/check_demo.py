"""Digests of what `rl-vae demo` made, to compare two versions of the code bit by bit.

    rl-vae demo --out runs/demo && python benchmarks/check_demo.py runs/demo

Prints one line each for the digest of the dataset, the SHA-256 of the VAE's weights, the SHA-256
of the policy's weights, the SHA-256 of the first 1,000 observations and actions of the agent (ten
environments, 100 decisions, evaluation seeds, actions deterministic), and the mean return of the
demo. Two versions behave alike on one machine if all five lines are equal.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

import rl_vae
from rl_vae.envs.seeds import evaluation_seeds

N_ENVS, DECISIONS = 10, 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path, help="the folder that rl-vae demo wrote")
    folder = parser.parse_args().demo
    print(f"dataset            {rl_vae.FrameDataset.open(folder / 'data').digest}")
    print(f"VAE weights        {sha256((folder / 'vae/model.safetensors').read_bytes())}")
    print(f"policy weights     {sha256((folder / 'agent/policy.safetensors').read_bytes())}")
    print(f"1,000 decisions    {decisions(rl_vae.Agent.load(folder / 'agent'))}")
    print(f"mean return        {mean_return(folder)}")


def decisions(agent: rl_vae.Agent) -> str:
    digest = hashlib.sha256()
    venv = agent.make_venv(N_ENVS)
    try:
        venv.seed(evaluation_seeds(1)[0])
        observations = venv.reset()
        for _ in range(DECISIONS):
            assert isinstance(observations, np.ndarray)
            actions = agent.predict(observations, deterministic=True)[0]
            digest.update(np.ascontiguousarray(observations).tobytes())
            digest.update(np.ascontiguousarray(actions).tobytes())
            observations = venv.step(actions)[0]
    finally:
        venv.close()
    return digest.hexdigest()


def mean_return(folder: Path) -> float:
    value: float = json.loads((folder / "result.json").read_text())["figures"]["mean_return"]
    return value


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    main()
