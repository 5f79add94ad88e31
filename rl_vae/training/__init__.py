"""Training of VAEs: one or several, on a CPU or a GPU, resumable."""
