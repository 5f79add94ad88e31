"""Handwritten digits of scikit-learn as datasets for the course: data/digits, known and nine.

1,797 images of 8 x 8 pixels, enlarged to 32 x 32. Each frame has the factor "digit", so that
`rl-vae classify --label digit` and the metrics know it. data/known has the digits 0 to 8,
data/nine the digit 9, which a model of data/known has never seen.
"""

import numpy as np
from sklearn.datasets import load_digits

from rl_vae import FrameDataset, FrameSpec

SPEC = FrameSpec(height=32, width=32, channels=1)


def main() -> None:
    """Write the three datasets."""
    digits = load_digits()
    images = np.kron(digits.images, np.ones((4, 4))) * (255 / 16)  # values 0 to 16
    frames, labels = images.astype(np.uint8)[..., None], digits.target
    parts = {"digits": labels >= 0, "known": labels < 9, "nine": labels == 9}
    for name, chosen in parts.items():
        FrameDataset.from_arrays(
            f"data/{name}", frames[chosen], factors={"digit": labels[chosen]}, spec=SPEC
        )


if __name__ == "__main__":
    main()
