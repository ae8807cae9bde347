"""How good found people are, measured against annotated ones: COCO AP and AR, PCK, and `evaluate`, which runs both."""

from litepose.metrics.report import Report, evaluate

__all__ = ["Report", "evaluate"]
