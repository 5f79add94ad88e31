"""What the server of `faults.processes` has in memory: a forked process then starts at once."""

import quick_exports  # noqa: F401 - for its effect
import torch

import rl_vae.agents.train
import rl_vae.analysis.comparison.compare
import rl_vae.analysis.report.page
import rl_vae.cli
import rl_vae.training.train  # noqa: F401
from rl_vae.models.onnx import export_graph

torch.set_num_threads(1)
export_graph(torch.nn.ReLU(), {"x": torch.zeros(2, 1)}, ("y",))
