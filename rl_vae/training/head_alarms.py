"""Alarms about the heads: too little to learn from, or nothing learned."""

from __future__ import annotations

from collections.abc import Mapping

from rl_vae.training.alarms import Alarm, settled
from rl_vae.training.config import TrainConfig
from rl_vae.training.head_targets import HeadTargets
from rl_vae.training.heads import Heads

FEW = 20
"""Number of training frames with another reward, or with an end, below which there is an alarm."""

LEARNED = 0.01
"""Share of a target that a head explains on held-out frames, below which it has learned nothing."""


def check_head_targets(targets: HeadTargets | None, heads: Heads) -> list[Alarm]:
    """Raise an alarm if the training frames hold hardly anything that a head can learn."""
    alarms = []
    if targets is not None and heads.reward > 0 and targets.other_rewards < FEW:
        alarms.append(
            Alarm(
                "few_rewards",
                f"all but {targets.other_rewards} training frames have the same reward: the reward "
                "head has hardly anything to learn.",
                "collect frames with a policy that meets rewards, or leave --reward-head out",
            )
        )
    if targets is not None and heads.done > 0 and targets.ends < FEW:
        alarms.append(
            Alarm(
                "few_ends",
                f"{targets.ends} training frames lie before an end of the environment (a time "
                "limit is none): the head of the end has hardly anything to learn.",
                "collect frames with a policy that meets ends, or leave --done-head out",
            )
        )
    return alarms


def check_heads(
    targets: HeadTargets | None,
    terms: Mapping[str, float],
    config: TrainConfig,
    step: int,
    total_steps: int,
) -> list[Alarm]:
    """Raise an alarm if there is too little to learn from, or a head has learned nothing.

    Args:
        targets: Targets of the heads, if there are any.
        terms: Measures of `HeadEvaluation`.
        config: Settings of the training.
        step: Number of finished updates.
        total_steps: Number of updates of the whole training.
    """
    alarms = check_head_targets(targets, config.heads)
    for name, target in (("reward", "reward"), ("done", "end")):
        explained = terms.get(f"{name}_r2")
        if explained is None or explained >= LEARNED or not settled(step, total_steps):
            continue
        alarms.append(
            Alarm(
                f"{name}_head",
                f"on held-out frames the head of the {target} is no better than a constant (R2 "
                f"{explained:.2g}), so that it cannot shape the code.",
                f"make more updates, or leave --{name}-head out: the {target} may depend on what "
                "one frame and one action do not show",
            )
        )
    return alarms
