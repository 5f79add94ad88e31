"""The page docs/algorithms.md from the cells of check_algorithms.py."""

from rl_vae.agents.kinds import KINDS

Rows = dict[str, dict[str, str]]

COLUMNS = ("train", "resume", "save", "load", "evaluate", "film", "ONNX")
NOTES = (
    "The algorithms of sb3_contrib need `pip install 'rl-vae[contrib]'`. MaskablePPO needs an",
    "environment, or a wrapper around it, with a method `action_masks()`; its file takes the mask",
    "as an input. RecurrentPPO's file has its state as inputs and outputs. A training that was",
    "interrupted goes on in new episodes and with new random numbers.",
    "",
    "Left out: SBX, whose policies are parameters of JAX: they would need a second way to save",
    "policies, and a second exporter.",
)
GOAL_NOTES = (
    "A dot is to be brought to where a picture shows it (`benchmarks/goal_games.py`). The recipe",
    'has `extras="goals"`: the agent observes codes of the image and of the goal, and learns with',
    "Stable-Baselines3's HerReplayBuffer. The mean return is that of the environment's rewards,",
    "-1 for each decision away from the goal and 0 at it; 800 decisions are too few to learn that.",
    "What is learned in more is in [Goals study](goals_study.md). The exported file takes the",
    "picture of the goal as a second input. Algorithms without a replay buffer may observe goals,",
    "too; they have no hindsight. CrossQ has no policy for the Dict that the buffer asks for.",
)


def page(rows: Rows, goal_rows: Rows, steps: int, columns: str) -> str:
    """The page.

    Args:
        rows: Cells of each algorithm by column, "HER" included.
        goal_rows: Cells of each algorithm in the goal environment.
        steps: Number of decisions of a training.
        columns: What the columns are.
    """
    lines = [
        "# Algorithms",
        "",
        "Written by `python benchmarks/check_algorithms.py --write`. Each agent was trained for",
        f"{steps:,} decisions in a small game, seed 0. The columns are:",
        "",
        *(line for line in columns.splitlines()[2:] if line),
        "",
        *table(rows, (*COLUMNS, "HER")),
        "",
        *NOTES,
        "",
        "## Goals that are pictures",
        "",
        *GOAL_NOTES,
        "",
        *table(goal_rows, COLUMNS),
        "",
    ]
    return "\n".join(lines)


def table(rows: Rows, columns: tuple[str, ...]) -> list[str]:
    """Lines of a table with a row for each algorithm."""
    head = ("algorithm", "library", "actions", *columns)
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, row in rows.items():
        kind = KINDS[name]
        library = "stable_baselines3" if kind.library == "stable_baselines3" else "sb3_contrib"
        actions = ", ".join(space.__name__ for space in kind.actions)
        cells = (name, library, actions, *(row[column] for column in columns))
        lines.append(f"| {' | '.join(cells)} |")
    return lines
