"""Learning curves of models and agents as pictures."""

from __future__ import annotations

from pathlib import Path

from rl_vae.models.pictures import Curve, save_chart
from rl_vae.system import strict_json

_CURVE = "curve.png"


def draw_vae_curve(model: Path) -> Path:
    """Draw the losses of a model's epochs into its folder; returns the path."""
    records = strict_json.read_lines(model / "metrics.jsonl")
    steps = [record["step"] for record in records]
    losses = (("training frames", "train_loss"), ("held-out frames", "loss"))
    curves = [Curve(steps, [record[key] for record in records], label) for label, key in losses]
    save_chart(model / _CURVE, curves, xlabel="updates", ylabel="loss in nats per frame")
    return model / _CURVE


def draw_agent_curve(agent: Path) -> Path:
    """Draw the returns of an agent's training into its folder; returns the path.

    If no episode has ended, there is nothing to draw: then it returns the path of progress.jsonl.
    """
    records = strict_json.read_lines(agent / "progress.jsonl")
    curves = []
    returns = (("training episodes", "training_return"), ("evaluations", "evaluation_return"))
    for label, key in returns:
        shown = [record for record in records if record.get(key) is not None]
        if shown:
            steps = [record["frames"] for record in shown]
            curves.append(Curve(steps, [record[key] for record in shown], label))
    if not curves:
        return agent / "progress.jsonl"
    save_chart(agent / _CURVE, curves, xlabel="environment steps", ylabel="mean return")
    return agent / _CURVE
