"""Write a checkpoint or a shipped model as an engine's file, which needs no PyTorch; kept if it computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litepose.commands.options import SizeOption, parse_size
from litepose.errors import SettingError

EngineOption = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="The engine it is for: onnx (.onnx), openvino (.xml), ncnn (.param), litert (.tflite), tensorrt or "
        "onnxruntime-web (.onnx). Default: by the suffix.",
    ),
]
DynamicOption = Annotated[
    bool,
    typer.Option(
        "--dynamic",
        help="Any input size and batch (the resize rule short_side needs it). Crops: any batch without it.",
    ),
]
HalfOption = Annotated[
    bool, typer.Option("--half-weights", help="Store weights in half precision: half the file, same speed.")
]
PlainOption = Annotated[
    bool, typer.Option("--plain", help="The network's own layers, not rewritten for the engine's sake.")
]
TrainableOption = Annotated[
    bool,
    typer.Option(
        "--trainable",
        help="Also store what folding batch normalisation loses, so that `train --from` goes on from the file.",
    ),
]
PixelsOption = Annotated[
    bool, typer.Option("--pixels", help="The file takes 8-bit pixels and normalises them itself (.onnx, .xml).")
]
PeaksOption = Annotated[
    bool,
    typer.Option(
        "--peaks",
        help="The file finds peaks itself and gives 30 for each keypoint, no maps (.onnx, .xml; associative "
        "embedding). Missing keypoints are not filled in; no --flip, --scales or --decode exact.",
    ),
]
PicturesOption = Annotated[
    list[str] | None,
    typer.Option("--pictures", help="Pictures or folders on which to compare it with the checkpoint, too."),
]
NoteOption = Annotated[
    list[str] | None, typer.Option("--note", help="KEY=VALUE for the file's provenance, e.g. licence=MIT.")
]


def run(
    model: Annotated[
        str,
        typer.Argument(help="A checkpoint (.safetensors), a shipped model, or an .onnx exported with --trainable."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; its suffix names the engine.")],
    runtime: EngineOption = None,
    size: SizeOption = None,
    dynamic: DynamicOption = False,
    half_weights: HalfOption = False,
    plain: PlainOption = False,
    trainable: TrainableOption = False,
    pixels: PixelsOption = False,
    peaks: PeaksOption = False,
    pictures: PicturesOption = None,
    note: NoteOption = None,
    opset: Annotated[int, typer.Option("--opset", help="ONNX operator set, 17 to 20.")] = 17,
) -> None:
    from litepose import images
    from litepose.export import export_model
    from litepose.unfolding import load_any_network
    from litepose.weights import path_of

    notes = parse_notes(note or [])
    network, spec = load_any_network(path_of(model))
    report = export_model(
        network, spec.with_provenance(**notes), output, engine=runtime,
        size=parse_size(size), dynamic=dynamic, half_weights=half_weights, plain=plain, trainable=trainable,
        pixels=pixels, peaks=peaks, opset=opset, pictures=images.find(pictures) if pictures else (),
        on_checked=lambda report: print(
            f"against the checkpoint: max error {report.max_error:.3g}, mean {report.mean_error:.3g} "
            f"(largest output {report.largest:.3g}, allowed {report.allowed:.3g})"
        ),
    )  # fmt: skip
    print(f"{report.path}: {report.num_bytes / 1e6:.2f} MB")


def parse_notes(notes: list[str]) -> dict[str, str]:
    """Return ["licence=MIT"] as a mapping. Raises SettingError."""
    pairs = [note.partition("=") for note in notes]
    if not all(key and value for key, _, value in pairs):
        raise SettingError(f"--note wants KEY=VALUE; found {', '.join(notes)}. Write for instance licence=MIT.")
    return {key: value for key, _, value in pairs}
