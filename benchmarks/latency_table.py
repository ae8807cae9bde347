"""How well the parts of a latency table add up to whole networks.

    python benchmarks/latency_table.py [--table FILE.json] [--space small] [--runtime onnx] [--threads 1]

Measures a table of the search space (or reads one that `litepose search --profile` wrote) and prints, for the 30 random
networks on which nothing was fitted, the predicted and the measured time. With one thread it is processor time, as wall
time on a shared machine measures the neighbours. Needs torch and onnx unless --table names a file.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402

from litepose.search.latency import LatencyTable, load_table  # noqa: E402
from litepose.search.space import SPACES  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="a table to read; it is measured and written there if missing")
    parser.add_argument("--space", choices=SPACES, default="small")
    parser.add_argument("--keypoints", type=int, default=14)
    parser.add_argument("--runtime", default="onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if asked.table is not None and asked.table.exists():
        table = load_table(asked.table)
    else:
        table = measured(asked)
        if asked.table is not None:
            table.save(asked.table)
    show(table)
    print(f"load average {os.getloadavg()[0]:.1f}")


def measured(asked: argparse.Namespace) -> LatencyTable:
    from litepose.search.profile import profile

    settings = {"num_keypoints": asked.keypoints}
    return profile(
        SPACES[asked.space], settings, runtime=asked.runtime, threads=asked.threads, rounds=asked.rounds
    )  # fmt: skip


def show(table: LatencyTable) -> None:
    """Print each checked network and the summary."""
    print("input  stem  deconvolutions  stages: channels x depth                 predicted ms  measured ms   error")
    for one, error in sorted(zip(table.checked, table.errors(), strict=True), key=lambda pair: pair[0].measured_ms):
        arch = json.loads(one.key)
        stages = " ".join(f"{stage['channel']}x{stage['num_blocks']}" for stage in arch["backbone_setting"])
        deconvs = " ".join(map(str, arch["deconv_setting"]))
        print(
            f"{arch['img_size']:5d}  {arch['input_channel']:4d}  {deconvs:14s}  {stages:38s}"
            f"  {one.measured_ms * (1 + error):12.2f}  {one.measured_ms:11.2f}  {100 * error:+5.1f} %"
        )
    within = np.mean(np.abs(table.errors()) <= 0.1)
    print(f"\n{table.summary()}; {100 * within:.0f} % of them within 10 %")


if __name__ == "__main__":
    main()
