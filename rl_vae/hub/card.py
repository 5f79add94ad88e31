"""Cards: README.md of a repository on the hub, with the block of YAML that the hub reads.

Texts of a folder may come from a stranger. In YAML, PyYAML quotes them; in Markdown and Python
`rl_vae.system.text` does.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection
from pathlib import Path

from huggingface_hub import CardData, DatasetCardData, EvalResult, ModelCardData, SpaceCardData

from rl_vae.agents.folder import read_agent_config
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import FolderError, printable
from rl_vae.hub.kinds import PICTURE, VIDEO
from rl_vae.models.card import make_card
from rl_vae.models.description import read_config
from rl_vae.system.text import markdown

LIBRARY = "rl-vae"
_MAX_TEXT = 100


def write_card(
    kind: str, folder: Path, repo_id: str, shown: Collection[str], dataset: str | None
) -> str:
    """Write the card of a folder.

    Args:
        kind: Kind of the folder.
        folder: The folder, verified.
        repo_id: Id of its repository.
        shown: Names of the picture and the video in the repository.
        dataset: Id of the dataset of its frames, if it is on the hub.

    Raises:
        FolderError: if the folder does not hold what the card shows.
    """
    writers = {"model": _model, "agent": _agent, "dataset": _dataset, "report": _report}
    try:
        data, body = writers[kind](folder, repo_id, shown)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FolderError.damaged(folder, "what a card shows", error) from error
    if dataset is not None:
        data["datasets"] = [dataset]
    return f"---\n{data.to_yaml()}\n---\n{body}"


def _model(folder: Path, repo_id: str, shown: Collection[str]) -> tuple[CardData, str]:
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag="image-feature-extraction",
        tags=[LIBRARY, "reinforcement-learning", "representation-learning", "vae"],
        metrics=["mse"],
    )
    body = make_card(read_config(folder), repo_id)
    if PICTURE in shown:
        body += f"\n![Held-out frames, and below each its reconstruction]({PICTURE})\n"
    return data, body


def _agent(folder: Path, repo_id: str, shown: Collection[str]) -> tuple[CardData, str]:
    config = read_agent_config(folder)
    env_id, algorithm = config["env_id"], config["recipe"]["algorithm"]
    # The evaluation at the end of the training, if there was one
    returns, results, sentence = config.get("evaluation"), None, ""
    if returns:
        spread = statistics.stdev(returns) if len(returns) > 1 else 0.0
        value = f"{statistics.fmean(returns):.2f} +/- {spread:.2f}"
        results = [_mean_reward(env_id, value)]
        sentence = f" Evaluated over {len(returns)} episodes without noise: mean return and\n"
        sentence += f"standard deviation {value} (seeds on which nothing was trained)."
    # YAML and text
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag="reinforcement-learning",
        tags=[LIBRARY, "reinforcement-learning", "deep-reinforcement-learning", "vae"],
        metrics=["mean_reward"],
        model_name=repo_id.partition("/")[2],
        eval_results=results,
    )
    video = f"\n[A video of one episode]({VIDEO})\n" if VIDEO in shown else ""
    body = f"""# Agent of {markdown(env_id)}

{markdown(algorithm)} on the latents of a VAE, trained by rl_vae for {config["steps"]:,}
decisions (engine {markdown(config["engine"])}, seed {markdown(config["seed"])}).{sentence}
{video}
```python
import rl_vae

agent = rl_vae.Agent.load("{repo_id}")
print(rl_vae.evaluate_agent(agent, episodes=10))
```
"""
    return data, body


def _mean_reward(env_id: object, value: str) -> EvalResult:
    """A mean return with its standard deviation, as SB3's repositories on the hub give it."""
    return EvalResult(
        task_type="reinforcement-learning",
        task_name="reinforcement-learning",
        dataset_type=_short(env_id),
        dataset_name=_short(env_id),
        metric_type="mean_reward",
        metric_value=value,
    )


def _dataset(folder: Path, repo_id: str, shown: Collection[str]) -> tuple[CardData, str]:
    dataset = FrameDataset.open(folder)
    header = dataset.header
    shape = " x ".join(map(str, dataset.spec.shape))
    factors = ", ".join(map(markdown, header.factor_names)) or "none"
    data = DatasetCardData(tags=[LIBRARY, "reinforcement-learning"])
    body = f"""# Frames of {markdown(header.env_id)}

{len(dataset):,} frames of {shape} uint8, in {len(dataset.episodes):,} episodes, by the engine
{markdown(header.engine)} (seed {header.seed}). Each has its action and reward, if they were
recorded. Factors: {factors}.

```python
import rl_vae

dataset = rl_vae.FrameDataset.open("{repo_id}")
print(dataset.frames([0]).shape, dataset.steps([0]))
```
"""
    return data, body


def _report(folder: Path, repo_id: str, shown: Collection[str]) -> tuple[CardData, str]:
    data = SpaceCardData(
        title=repo_id.partition("/")[2], sdk="static", app_file="index.html", tags=[LIBRARY]
    )
    body = f"""# A report of rl_vae

One page without a server. To have it on a disk:

    rl-vae pull {repo_id} --repo-type space --out FOLDER
"""
    return data, body


def _short(text: object) -> str:
    """A text from a folder, without controls, of a length that a page can show."""
    return printable(text)[:_MAX_TEXT]
