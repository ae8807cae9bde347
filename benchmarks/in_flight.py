"""Pictures a second over a folder, one by one and with several in flight.

    python benchmarks/in_flight.py FOLDER [-m litepose_xs] [--decode fast] [--rounds 5] [--pictures 60]

Ways take turns within a round, in turned order from round to round; wall time, which is the point here, so the load of
the machine is printed with it, and how many cores the process had of those that it could use: where that does not grow
with the threads, neighbours took the rest and nothing can be gained. Pictures are read from files,
nothing is drawn; all ways must find the same people.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import cv2
import numpy as np

from litepose import images
from litepose.errors import LiteposeError
from litepose.predictor import load
from litepose.runtimes.base import physical_cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-m", "--model", default="litepose_xs")
    parser.add_argument("--decode", default="fast")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=60)
    asked = parser.parse_args()

    cv2.setNumThreads(1)
    files, cores = images.find([asked.folder])[: asked.pictures], physical_cores()
    ways = {(1, 1), (cores, 1), (cores, 2), (1, 2), (1, cores), (1, cores + 1)}
    predictors = {threads: load(asked.model, threads=threads, decode=asked.decode) for threads, _ in ways}
    rates: dict[tuple[int, int], list[float]] = {way: [] for way in sorted(ways)}
    cores_had: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    people = {}
    for turn in range(asked.rounds + 1):
        for threads, in_flight in sorted(ways, reverse=bool(turn % 2)):
            start, cpu = time.perf_counter(), time.process_time()
            answers = list(predictors[threads].predict_many(files, in_flight=in_flight))
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            rates[threads, in_flight].append(len(files) / seconds)
            cores_had[threads, in_flight].append(cpu / seconds)
            people[threads, in_flight] = [0 if isinstance(one, LiteposeError) else len(one) for one in answers]
    print(f"{asked.model}, decode {asked.decode}, {len(files)} pictures, {cores} cores, load {os.getloadavg()[0]:.1f}")
    print("engine threads   in flight   cores had   pictures a second   against one by one, one thread (quartiles)")
    for way, found in rates.items():
        ratios = np.array(found[1:]) / np.array(rates[1, 1][1:])
        low, middle, high = np.percentile(ratios, (25, 50, 75))
        rate, spread = statistics.median(found[1:]), f"({low:.2f} .. {high:.2f})"
        had = statistics.median(cores_had[way][1:])
        print(f"{way[0]:14d} {way[1]:11d} {had:11.2f} {rate:19.1f}   {middle:10.2f}x {spread}")
    print("the same number of people everywhere:", len({tuple(one) for one in people.values()}) == 1)


if __name__ == "__main__":
    main()
