"""Trackers of experiments: TensorBoard, Weights & Biases and MLflow behind one interface."""
