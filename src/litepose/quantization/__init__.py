"""Integers in place of floats: a model file is quantized with real pictures, compared with the float model, and kept
only where it pays.
"""

from litepose.quantization.graph import METHODS, TARGETS, this_target
from litepose.quantization.report import QuantizationReport
from litepose.quantization.run import quantize_model

__all__ = ["METHODS", "TARGETS", "QuantizationReport", "quantize_model", "this_target"]
