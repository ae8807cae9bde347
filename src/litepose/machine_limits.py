"""What this machine attains: a dense convolution in an engine, and bare multiply-adds of the processor.

Both are measured here and now, so that a network's GFLOP/s can be held against them. The dense convolution is what
engines are best at (80-90 % of the multiply-adds on most processors), so a network's share of it is what its layers
leave on the table.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CHANNELS, SIDE, LAYERS, KERNEL = 128, 64, 3, 3
FLOPS = 2 * LAYERS * (CHANNELS * KERNEL) ** 2 * SIDE * SIDE
RUNS = 9
COMPILE_SECONDS = 60

# Independent sums, more than the processor starts before the first is done; vectors as wide as it has.
FMA_SOURCE = """
#include <stdio.h>
#include <time.h>
#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define SUMS 12
#define STEPS 20000000L
typedef float vector __attribute__((vector_size(WIDTH * 4)));
int main(void) {
    vector sums[SUMS], factor, term;
    double best = 0;
    for (int lane = 0; lane < WIDTH; lane++) { factor[lane] = 0.999f; term[lane] = 0.001f * lane; }
    for (int turn = 0; turn < 3; turn++) {
        /* no two alike, or they are computed once */
        for (int i = 0; i < SUMS; i++) sums[i] = term * (float)(i + turn);
        clock_t start = clock();
        for (long step = 0; step < STEPS; step++)
            for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * factor + term;
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        double rate = 2.0 * SUMS * WIDTH * STEPS / seconds / 1e9;
        if (rate > best) best = rate;
    }
    float left = 0;
    for (int i = 0; i < SUMS; i++)
        for (int lane = 0; lane < WIDTH; lane++) left += sums[i][lane];
    fprintf(stderr, "%f", left);
    printf("%f", best);
    return 0;
}
"""


def convolution_gflops(runtime: str, threads: int) -> float | None:
    """Return the GFLOP/s of dense 3x3 convolutions in an engine; None for engines that it is not written for.

    One thread is timed by its CPU time, several by the clock on the wall.
    """
    makers: dict[str, Callable[[int], Callable[[], object]]] = {"onnx": _in_onnxruntime, "torch": _in_torch}
    if runtime not in makers:
        return None
    run, clock = makers[runtime](threads), time.process_time if threads == 1 else time.perf_counter
    seconds = []
    for _ in range(RUNS):
        start = clock()
        run()
        seconds.append(clock() - start)
    return FLOPS / statistics.median(seconds[1:]) / 1e9


def fma_gflops() -> float | None:
    """Return one core's GFLOP/s of float32 multiply-adds; None where no C compiler is at hand, or it fails."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "fma.c", Path(folder) / "fma"
        source.write_text(FMA_SOURCE)
        # Some compilers unroll the inner loop, which keeps the sums in registers, only when told.
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-funroll-loops"]
        try:
            command = [compiler, *flags, str(source), "-o", str(program)]
            subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)
            done = subprocess.run([str(program)], check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)
            return float(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None


def _in_onnxruntime(threads: int) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(_dense_onnx(), options, providers=["CPUExecutionProvider"])
    x = np.ones((1, CHANNELS, SIDE, SIDE), dtype=np.float32)
    return lambda: session.run(None, {"x": x})


def _in_torch(threads: int) -> Callable[[], object]:
    import torch

    layers = [torch.nn.Conv2d(CHANNELS, CHANNELS, KERNEL, padding=1, bias=False) for _ in range(LAYERS)]
    network, x = torch.nn.Sequential(*layers).eval(), torch.ones(1, CHANNELS, SIDE, SIDE)

    def run() -> object:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                return network(x)
        finally:
            torch.set_num_threads(before)

    return run


# The convolutions as an ONNX file, written without the package onnx, which only exporting needs. Field numbers are
# those of onnx.proto3: a message is a sequence of (number << 3 | kind), then a varint or a length and bytes.


def _dense_onnx() -> bytes:
    weights = struct.pack("<f", 1 / (CHANNELS * KERNEL * KERNEL)) * (CHANNELS * CHANNELS * KERNEL * KERNEL)
    dims = b"".join(_number(1, size) for size in (CHANNELS, CHANNELS, KERNEL, KERNEL))
    pads = _text(1, "pads") + b"".join(_number(8, 1) for _ in range(4)) + _number(20, 7)  # 7: whole numbers
    names = ["x", *(f"x{layer + 1}" for layer in range(LAYERS - 1)), "y"]
    nodes = [
        _text(1, given) + _text(1, "w") + _text(2, made) + _text(4, "Conv") + _bytes(5, pads)
        for given, made in itertools.pairwise(names)
    ]
    graph = b"".join(_bytes(1, node) for node in nodes) + _text(2, "dense")
    graph += _bytes(5, dims + _number(2, 1) + _text(8, "w") + _bytes(9, weights))  # 1: float32
    graph += _bytes(11, _value("x")) + _bytes(12, _value("y"))
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 17))


def _value(name: str) -> bytes:
    shape = b"".join(_bytes(1, _number(1, size)) for size in (1, CHANNELS, SIDE, SIDE))
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
