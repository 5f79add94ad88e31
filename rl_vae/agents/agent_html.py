"""What a notebook shows of an Agent."""

from __future__ import annotations

from pathlib import Path

from rl_vae.agents.folder import read_agent_config
from rl_vae.agents.recipe import Recipe
from rl_vae.models.encoder import Encoder
from rl_vae.system import html, strict_json
from rl_vae.system.estimate import t_interval


def agent_html(path: Path, recipe: Recipe, env_id: str, seed: int, encoder: Encoder) -> str:
    """A table of facts, and the curve of the training.

    Args:
        path: Folder of the agent.
        recipe: Its recipe.
        env_id: Its environment.
        seed: Seed of its training.
        encoder: The encoder through which it observes.
    """
    past = f" and {recipe.actions} past actions" if recipe.actions else ""
    values = {
        "folder": html.place(path),
        "environment": env_id,
        "algorithm": f"{recipe.algorithm}, {recipe.total_steps:,} decisions, seed {seed}",
        "observes": f"{recipe.stack} codes of {encoder.latent_dim} numbers{past}",
        "encoder": html.short(encoder.digest),
        "return": html.attempt(lambda: _evaluation(path)),
    }
    caption = "Mean return of training episodes over decisions"
    return html.facts("Agent", values, html.curve(lambda: _curve(path), caption))


def _evaluation(path: Path) -> str:
    """Mean return of the evaluation at the end of the training, with its interval."""
    returns = read_agent_config(path).get("evaluation")
    if not returns:
        return "not evaluated in the training"
    mean, low, high = t_interval(returns)
    return f"{mean:.2f}, 95 % interval {low:.2f} to {high:.2f} over {len(returns)} episodes"


def _curve(path: Path) -> list[tuple[float, float]]:
    """Decisions and mean return, for each record of the training that has a return."""
    records = strict_json.read_lines(path / "progress.jsonl")
    shown = [record for record in records if record.get("training_return") is not None]
    return [(float(record["steps"]), float(record["training_return"])) for record in shown]
