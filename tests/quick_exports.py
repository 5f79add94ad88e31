"""Makes exports to ONNX faster: the exporter reads torch's operators once a process.

torch's exporter parses the source of some 500 operators at every export, half of its time.
"""

import functools

from torch.onnx._internal.exporter._registration import ONNXRegistry

ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
