"""How good found people are, measured against annotated ones: COCO AP and AR, PCK, PCKh, and `evaluate`, which runs
the measures that belong to the data."""

from litepose.metrics.protocols import CocoProtocol, MpiiProtocol
from litepose.metrics.report import Report, evaluate

__all__ = ["CocoProtocol", "MpiiProtocol", "Report", "evaluate"]
