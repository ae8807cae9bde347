"""The page that says why a model fails: `index.html`, which holds everything it shows, and its numbers as JSON.

`metrics.diagnosis` and `metrics.pck_diagnosis` find out; here is what is shown of it: words, charts, pictures.
"""

from litepose.failure_report.ap import write_coco_report
from litepose.failure_report.evaluated import reader_of, sizes_in, write_failure_report
from litepose.failure_report.pck import write_pck_report, write_pckh_report

__all__ = [
    "reader_of",
    "sizes_in",
    "write_coco_report",
    "write_failure_report",
    "write_pck_report",
    "write_pckh_report",
]
