"""Study of evolve_agent: return of an agent before and after the evolution of its output layer.

The environment is CartPole-v1 as rendered frames, with the settings of study_comparison.py. Each
seed trains a VAE, a PPO agent and an evolution. Before and after are compared on the same test
episodes, which neither training nor checks have seen; beside them is a PPO agent that is trained
with as many further decisions as the evolution took. An interrupted study continues with the same
command.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from study_comparison import STUDIES  # type: ignore[import-not-found]

from rl_vae import collect_frames, evaluate_agent, evolve_agent, train_agent, train_vae
from rl_vae.system.estimate import t_interval
from rl_vae.system.files import write_whole
from rl_vae.system.process_settings import configure_process
from rl_vae.system.provenance import git_commit, machine, write_figures

COLUMNS = ("before", "evolved", "PPO goes on", "decisions", "seconds")


def main() -> None:
    configure_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/evolution"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--steps", type=int, default=4_096, help="decisions of PPO before")
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--population", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=3, help="episodes of a member")
    parser.add_argument("--workers", type=int, help="processes (default: number of cores)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write a Markdown table there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    rows = [run(arguments, seed) for seed in range(arguments.seeds)]
    here = machine()
    lines = [
        f"CartPole-v1, {arguments.steps:,} decisions of PPO, then {arguments.generations} "
        f"generations of {arguments.population} members with {arguments.episodes} episodes each. "
        "Mean returns of 20 test episodes without noise. Seconds are those of the evolution. "
        f"{here['processor']}, {here['cores']} cores that other processes used, too; commit "
        f"{git_commit(__file__)}.",
        "",
        f"| seed | {' | '.join(COLUMNS)} |",
        "|---" * (1 + len(COLUMNS)) + "|",
        *(f"| {i} | {' | '.join(f'{v:,.0f}' for v in row)} |" for i, row in enumerate(rows)),
        "",
    ]
    figures = {"seeds": float(len(rows))}
    for name, column in (("evolved_minus_before", 0), ("evolved_minus_ppo", 2)):
        value, low, high = t_interval([row[1] - row[column] for row in rows])
        figures |= {name: value, f"{name}_low": low, f"{name}_high": high}
        lines.append(f"{name.replace('_', ' ')}: {value:.0f} ({low:.0f} to {high:.0f})\n")
    print("\n".join(lines))
    if arguments.table:
        write_whole(arguments.table, "\n".join(lines).encode())
    if arguments.json:
        write_figures(arguments.json, figures, range(arguments.seeds))


def run(arguments: argparse.Namespace, seed: int) -> tuple[float, ...]:
    """Values of COLUMNS for one seed."""
    study, out, workers = STUDIES["cartpole"], arguments.out, arguments.workers
    frames = collect_frames(
        study.env_id,
        out / "frames",
        n_frames=study.frames,
        spec=study.spec,
        frame_skip=study.recipe.frame_skip,
        engine="gymnasium",
        workers=workers,
    )
    config = replace(study.train, seed=seed)
    model = train_vae(frames, out / f"vae-{seed}", study.vae, config, progress=False)
    recipe = replace(study.recipe, total_steps=arguments.steps, final_learning_rate=1e-3)
    training = {"seed": seed, "evaluations": 0, "workers": workers, "progress": False}
    before = train_agent(study.env_id, model.path, out / f"ppo-{seed}", recipe, **training)
    start = time.perf_counter()
    evolved = evolve_agent(
        before.path,
        out / f"evolved-{seed}",
        generations=arguments.generations,
        population=arguments.population,
        episodes=arguments.episodes,
        checks=2,
        check_episodes=10,
        seed=seed,
        workers=workers,
        progress=False,
    )
    seconds = max(evolved.seconds, time.perf_counter() - start)
    longer = replace(recipe, total_steps=max(512, evolved.steps))
    further = train_agent(
        study.env_id, model.path, out / f"longer-{seed}", longer, start=before.path, **training
    )
    returns = [
        evaluate_agent(agent.path, episodes=20, workers=workers).mean
        for agent in (before, evolved, further)
    ]
    print(seed, *returns, evolved.kept, flush=True)
    return (*returns, evolved.steps, seconds)


if __name__ == "__main__":
    main()
