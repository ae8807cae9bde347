"""Counters of a server, as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._totals: Counter[str] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0

    def answered(self, path: str, status: int) -> None:
        """Count a request. path: of a closed list, or a stranger's paths would fill memory."""
        with self._lock:
            self._requests[path, status] += 1

    def found(self, pictures: int, people: int, seconds: float) -> None:
        """Count the pictures of a request, the people in them, and how long that took."""
        with self._lock:
            self._totals["pictures"] += pictures
            self._totals["people"] += people
            self._totals["jobs"] += 1
            self._seconds += seconds
            for limit in BUCKETS_S:
                self._buckets[limit] += seconds <= limit

    def text(self, in_flight: int, places: int) -> str:
        """Return everything as text."""
        with self._lock:
            lines = _head("litepose_requests_total", "counter", "Requests answered.")
            lines += [
                f'litepose_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self._requests.items())
            ]
            for name in ("pictures", "people"):
                lines += _head(f"litepose_{name}_total", "counter", f"The {name} seen.")
                lines.append(f"litepose_{name}_total {self._totals[name]}")
            for name, value, what in (
                ("in_flight", in_flight, "Requests that compute or wait."),
                ("places", places, "How many may."),
            ):
                lines += [*_head(f"litepose_{name}", "gauge", what), f"litepose_{name} {value}"]
            name, jobs = "litepose_compute_seconds", self._totals["jobs"]
            lines += _head(name, "histogram", "Time of reading pictures and finding people, by request.")
            lines += [f'{name}_bucket{{le="{limit:g}"}} {self._buckets[limit]}' for limit in BUCKETS_S]
            lines += [f'{name}_bucket{{le="+Inf"}} {jobs}', f"{name}_sum {self._seconds:.6f}", f"{name}_count {jobs}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
