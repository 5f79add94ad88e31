"""Codes of raw images with onnxruntime and numpy alone: no rl_vae, no torch.

rl-vae export models/car --out encoder.onnx
python encode_images.py encoder.onnx images.npy codes.npy
"""

import json
import sys

import numpy as np
import onnxruntime

model, source, out = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
facts = session.get_modelmeta().custom_metadata_map
spec, precision = json.loads(facts["spec"]), facts["precision"]
print(f"frames of {spec['height']} x {spec['width']} x {spec['channels']}, {precision}")
images = np.load(source)  # (N, h, w, 3) uint8, as the environment gives them
codes = np.concatenate([session.run(["mu"], {"observation": image[None]})[0] for image in images])
np.save(out, codes)  # (N, Z) float32
