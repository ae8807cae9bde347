"""Write a checkpoint as an engine's model file, which runs without PyTorch; kept only if it computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litepose.commands.options import SizeOption, parse_size
from litepose.errors import SettingError


def run(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint (.safetensors).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; its suffix names the engine.")],
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            help="The engine it is for: onnx (.onnx), openvino (.xml), ncnn (.param), litert (.tflite), "
            "tensorrt (.onnx). Default: by the suffix.",
        ),
    ] = None,
    size: SizeOption = None,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="Any input size and batch (the resize rule short_side needs it). Crops: any batch without it.",
        ),
    ] = False,
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Store weights in half precision: half the file, same speed.")
    ] = False,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="The network's own layers, not rewritten for the engine's sake."),
    ] = False,
    trainable: Annotated[
        bool,
        typer.Option(
            "--trainable",
            help="Also store what folding batch normalisation loses, so that `train --from` goes on from the file.",
        ),
    ] = False,
    pictures: Annotated[
        list[str] | None,
        typer.Option("--pictures", help="Pictures or folders on which to compare it with the checkpoint, too."),
    ] = None,
    note: Annotated[
        list[str] | None, typer.Option("--note", help="KEY=VALUE for the file's provenance, e.g. licence=MIT.")
    ] = None,
    opset: Annotated[int, typer.Option("--opset", help="ONNX operator set, 17 to 20.")] = 17,
) -> None:
    from litepose import images
    from litepose.checkpoints import load_network
    from litepose.export import export_model

    notes = parse_notes(note or [])
    network, spec = load_network(checkpoint)
    report = export_model(
        network, spec.with_provenance(**notes), output, engine=runtime,
        size=parse_size(size), dynamic=dynamic, half_weights=half_weights, plain=plain, trainable=trainable,
        opset=opset, pictures=images.find(pictures) if pictures else (),
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
