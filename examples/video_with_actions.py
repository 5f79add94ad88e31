"""A video with logged actions: a VAE, what its code holds, and the encoder as an ONNX file.

drive.csv beside drive.mp4 has a row for each frame, with the columns action_0, action_1, ...;
reward and factors if they were logged. The same as commands:

    rl-vae import drive.mp4 --out runs/drive/data --max-episode-steps 100
    rl-vae train-vae runs/drive/data --out runs/drive/model
    rl-vae score runs/drive/model runs/drive/data
"""

import numpy as np
import onnxruntime

import rl_vae
from rl_vae import TrainConfig

UPDATES = 1_000

if __name__ == "__main__":
    # Five statements: import, train, load, score, and encode with the ONNX file alone
    dataset = rl_vae.import_frames("drive.mp4", "runs/drive/data", max_episode_steps=100)
    model = rl_vae.train_vae(dataset, "runs/drive/model", train_config=TrainConfig(steps=UPDATES))
    print(rl_vae.score_encoder(rl_vae.Encoder.load(model.path), dataset, stack=2))
    graph = onnxruntime.InferenceSession(model.path / "encoder.onnx")
    (codes,) = graph.run(["mu"], {"frames": dataset.frames(np.arange(8))})
    print(f"{model.path / 'encoder.onnx'}: codes of 8 frames, {codes.shape}")
