"""A folder of pictures with factors: betas compared by MIG, DCI and SAP over seeds, and a report.

pictures/metadata.csv has the column file_name, and one column for each factor. As commands:

    rl-vae import pictures --out runs/pictures/data
    rl-vae sweep runs/pictures/data --out runs/pictures --beta 1 4 16 --seed 0 1 2 3 4
    rl-vae report runs/pictures/beta* --dataset runs/pictures/data --out runs/pictures/report.html
"""

import rl_vae
from rl_vae import Beta, TrainConfig

BETAS, SEEDS, PASSES = (1, 4, 16), (0, 1, 2, 3, 4), 20
SCORES = ("MIG", "DCI_disentanglement", "SAP")

if __name__ == "__main__":
    # Five statements: import, name the runs, train, report, print
    dataset = rl_vae.import_frames("pictures", "runs/pictures/data")
    runs = {
        f"beta{beta}-seed{seed}": TrainConfig(objective=Beta(beta), seed=seed, epochs=PASSES)
        for beta in BETAS
        for seed in SEEDS
    }
    models = rl_vae.train_sweep(dataset, "runs/pictures", runs)
    report = rl_vae.write_report(
        "runs/pictures/report.html", [model.path for model in models.values()], dataset.path
    )
    for beta in BETAS:
        for score in SCORES:
            values = [report.figures[f"beta{beta}_seed{seed}_{score}"] for seed in SEEDS]
            mean, low, high = rl_vae.t_interval(values)
            print(f"beta {beta:2}  {score:20} {mean:.2f}  95 % interval {low:.2f} to {high:.2f}")
