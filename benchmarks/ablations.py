"""What the LitePose authors' ablations cost: kernels of 3 to 9 and the deconvolution head, of prune-S at 512x512.

    python benchmarks/ablations.py [--keypoints 14]

Wang et al., CVPR 2022, figures as in the slides of mit-han-lab/litepose@00b702d. MACs are counted truly and as the
authors count (`litepose.counting`); AP is theirs, on CrowdPose test. Needs torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from litepose.models.litepose import VARIANTS
from litepose.search.cost import CountedCost

NETWORK = "litepose_prune_s"
# What is changed -> G of MACs and AP as printed. Their 9x9 does not follow from their own way of counting.
PRINTED = {
    "kernel 3": (3.77, 41.7),
    "kernel 5": (4.14, 50.7),
    "kernel 7": (4.69, 54.7),
    "kernel 9": (5.33, 53.3),
    "plain head": (4.06, 47.1),
    "fusion head": (4.69, 54.7),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keypoints", type=int, default=14)
    asked = parser.parse_args()
    print(f"{NETWORK} at 512x512   params M   MACs G   as the authors count   they print   their AP")
    for name, (printed, their_ap) in PRINTED.items():
        kernel = int(name.split()[1]) if name.startswith("kernel") else 7
        settings = {"num_keypoints": asked.keypoints, "simple_head": name == "plain head"}
        params, macs, reference = (
            CountedCost(kind, settings)(with_kernel(VARIANTS[NETWORK]["arch"], kernel))
            for kind in ("params", "macs", "macs_reference")
        )
        print(
            f"{name:27s}   {params / 1e6:8.3f}   {macs / 1e9:6.3f}   {reference / 1e9:20.3f}   {printed:10.2f}"
            f"   {their_ap:8.1f}"
        )


def with_kernel(arch: Mapping[str, Any], kernel: int) -> dict[str, Any]:
    """Return the arch with this kernel in all its blocks."""
    stages = [
        {**stage, "block_setting": [[expansion, kernel] for expansion, _ in stage["block_setting"]]}
        for stage in arch["backbone_setting"]
    ]
    return {**arch, "backbone_setting": stages}


if __name__ == "__main__":
    main()
