"""Run a model file on inputs and write its outputs: what `arm_check.py` starts on the emulated ARM processor.

    python arm_guest.py MODEL INPUTS.npz OUTPUTS.npz NAME [NAME ...]

INPUTS: arrays as the file takes them, (1, 3, H, W). OUTPUTS: for each input "0" the arrays "0/NAME" of the outputs that
are named. Needs numpy and the engine alone, with the settings of litepose's runtimes; litepose is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

Network = Callable[[np.ndarray], Sequence[np.ndarray]]


def main(model: str, inputs: str, outputs: str, *names: str) -> None:
    opened = open_ncnn if model.endswith(".param") else open_onnx
    network = opened(Path(model), names)
    found = {}
    with np.load(inputs) as batches:
        for place in batches.files:
            for name, output in zip(names, network(batches[place]), strict=True):
                found[f"{place}/{name}"] = output
    np.savez(outputs, **found)


def open_onnx(path: Path, names: Sequence[str]) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only; errors come as exceptions
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(list(names), {"image": batch})


def open_ncnn(path: Path, names: Sequence[str]) -> Network:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        sys.exit(f"{path} is no model that ncnn {ncnn.__version__} can open.")

    def network(batch: np.ndarray) -> list[np.ndarray]:
        picture = np.ascontiguousarray(batch[0])
        with net.create_extractor() as extractor:
            extractor.input("image", ncnn.Mat(picture))
            return [np.array(extractor.extract(name)[1])[None] for name in names]

    return network


if __name__ == "__main__":
    main(*sys.argv[1:])
