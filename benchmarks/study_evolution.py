"""Study of evolve_agent: return of an agent before and after the evolution of its output layer.

The environment is CartPole-v1 as rendered frames, with the settings of study_comparison.py. Each
seed trains a VAE, a PPO agent and an evolution for each sigma. Before and after are compared on the
same test episodes, which neither training nor checks have seen; beside them is a PPO agent that is
trained with as many further decisions as the evolution took. An interrupted study continues with
the same command.
"""

import argparse
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
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.2, 0.5, 1.0])
    parser.add_argument("--workers", type=int, help="processes (default: number of cores)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write a Markdown table there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    rows = {
        (sigma, seed): run(arguments, sigma, seed)
        for seed in range(arguments.seeds)
        for sigma in arguments.sigma
    }
    here = machine()
    lines = [
        "# Evolution of the last layer",
        "",
        f"CartPole-v1, {arguments.steps:,} decisions of PPO, then {arguments.generations} "
        f"generations of {arguments.population} members with {arguments.episodes} episodes each. "
        "Mean returns of 20 test episodes without noise. Seconds are those of the evolution. "
        f"{here['processor']}, {here['cores']} cores that other processes used, too; commit "
        f"{git_commit(__file__)}.",
        "",
        f"| sigma | seed | {' | '.join(COLUMNS)} |",
        "|---" * (2 + len(COLUMNS)) + "|",
        *(
            f"| {sigma:g} | {seed} | {' | '.join(f'{value:,.0f}' for value in row)} |"
            for (sigma, seed), row in sorted(rows.items())
        ),
        "",
    ]
    figures = {"seeds": float(arguments.seeds)}
    for sigma in arguments.sigma:
        of_sigma = [rows[sigma, seed] for seed in range(arguments.seeds)]
        for name, column in (("before", 0), ("PPO goes on", 2)):
            value, low, high = t_interval([row[1] - row[column] for row in of_sigma])
            key = f"sigma{sigma:g}_evolved_minus_{name.replace(' ', '_')}"
            figures |= {key: value, f"{key}_low": low, f"{key}_high": high}
            lines.append(
                f"- sigma {sigma:g}, evolved minus {name}: {value:.0f} ({low:.0f} to {high:.0f})"
            )
    print("\n".join(lines))
    if arguments.table:
        write_whole(arguments.table, "\n".join(lines).encode())
    if arguments.json:
        write_figures(arguments.json, figures, range(arguments.seeds))


def run(arguments: argparse.Namespace, sigma: float, seed: int) -> tuple[float, ...]:
    """Values of COLUMNS for one sigma and one seed."""
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
    evolved = evolve_agent(
        before.path,
        out / f"evolved-{sigma:g}-{seed}",
        generations=arguments.generations,
        population=arguments.population,
        episodes=arguments.episodes,
        sigma=sigma,
        checks=2,
        check_episodes=10,
        seed=seed,
        workers=workers,
        progress=False,
    )
    longer = replace(recipe, total_steps=max(512, evolved.steps))
    further = train_agent(
        study.env_id,
        model.path,
        out / f"longer-{sigma:g}-{seed}",
        longer,
        start=before.path,
        **training,
    )
    returns = [
        evaluate_agent(agent.path, episodes=20, workers=workers).mean
        for agent in (before, evolved, further)
    ]
    print(sigma, seed, *returns, evolved.kept, flush=True)
    return (*returns, evolved.steps, evolved.seconds)


if __name__ == "__main__":
    main()
