"""Anomalies: a VAE that knows the digits 0 to 8 meets the 9. The area under the ROC curve.

Fair: a quarter of the known digits is kept out of the training, and only these are compared with
the nines. An area of 0.5 would be guessing.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score, roc_curve

import rl_vae

PASSES = 20

if __name__ == "__main__":
    digits = load_digits()
    images = np.kron(digits.images, np.ones((4, 4))) * (255 / 16)  # 8 x 8 to 32 x 32 pixels
    frames, labels = images.astype(np.uint8)[..., None], digits.target
    known = np.flatnonzero(labels < 9)
    np.random.default_rng(0).shuffle(known)
    unseen, seen = np.split(known, [len(known) // 4])

    spec = rl_vae.FrameSpec(height=32, width=32, channels=1)
    dataset = rl_vae.FrameDataset.from_arrays("runs/anomalies/data", frames[seen], spec=spec)
    training = rl_vae.TrainConfig(epochs=PASSES, batch_size=32)
    model = rl_vae.train_vae(
        dataset, "runs/anomalies/vae", rl_vae.VAEConfig(latent_dim=8), training
    )
    encoder = rl_vae.Encoder.load(model.path)

    tested = np.concatenate([unseen, np.flatnonzero(labels == 9)])
    scores, is_nine = rl_vae.find_anomalies(encoder, frames[tested]).scores, labels[tested] == 9
    for name, values in {"ELBO": -scores.elbo, "KL": scores.rate, "error": scores.error}.items():
        area = roc_auc_score(is_nine, values)
        false_alarms, hits, _ = roc_curve(is_nine, values)
        found = hits[false_alarms <= 0.1].max()
        print(f"{name:5} area {area:.2f}, {found:.0%} of the nines at 10 % false alarms")
