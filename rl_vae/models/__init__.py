"""Networks, the VAE, the model folder, the encoder that serves it, and ONNX."""
