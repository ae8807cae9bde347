"""Model cards: what each shipped model is, how good, how fast, how it fails, what it was trained on and whose that is.

    python benchmarks/model_cards.py [NAME ...] --coco VAL.json --lspet VAL.json --write docs/models

Without names all shipped models get one. Written are NAME.md, NAME.svg (people found over people annotated, without the
photographs) and README.md, the list of all. Everything is measured anew but for what notes/NAME.md in the same folder
says, which is put in as it is:

    <!-- weights: 8652e390 -->     what the weights' sha256 began with when it was written; a card whose weights are
    ## In short                    others says so
    ## Training
    ## Looked at
    ## Known failures

--detector FILE.onnx adds a row with its boxes to the cards of top-down models. One thread; a minute or two a model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
from card_figure import choose_cases, draw_cases
from card_measures import Measured, measure, time_models
from card_notes import read_notes
from card_text import PICTURES, card

from litepose import weights
from litepose.files import write_text
from litepose.predictor import load
from litepose.weights import ModelCard

NEAR = 0.0005  # two APs that are the same as printed
COMMAND = "python benchmarks/model_cards.py {} --coco VAL.json --lspet VAL.json --write docs/models"
INDEX = """# The models that ship

Each has a card: what it is for, how good it is and for whom, how it fails, what it was trained on and whose that is.
`litepose models` prints the same list. "litepose val-129" are 129 pictures of COCO val2017 with 350 people;
[pictures.json]({pictures}) has the numbers of all pictures that the models were
trained and measured on.

{table}

After new weights:

    {command}
    python benchmarks/contact_sheet.py NAME --data VAL.json -o sheet.jpg

and what is seen on the sheet goes into `notes/NAME.md`, from which the card takes it when it is made again.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--coco", required=True, help="COCO keypoint file of the validation pictures")
    parser.add_argument("--lspet", help="COCO keypoint file of LSPET's validation part")
    parser.add_argument("--detector", help="an ONNX person detector, for one more row")
    parser.add_argument("--repeat", type=int, default=30, help="rounds of timing")
    parser.add_argument("--write", type=Path, required=True, help="the folder of the cards")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - set(weights.names())
    if unknown:
        parser.error(f"no shipped models: {', '.join(sorted(unknown))}; there are {', '.join(weights.names())}")

    cv2.setNumThreads(1)
    names = asked.names or weights.names()
    speeds = time_models(names, repeat=asked.repeat)
    for name in names:
        measured = measure(name, asked.coco, asked.lspet, detector=asked.detector, speed=speeds[name])
        for line in write_card(measured, asked.write):
            print(line)
    top_down = {name: load(name, threads=1).takes_boxes for name in weights.names()}
    write_text(asked.write / "README.md", index(weights.cards(), top_down))


def write_card(measured: Measured, folder: Path) -> list[str]:
    """Write one card and its figure; return what is to be said about them."""
    name, facts = measured.name, measured.spec.provenance
    notes = read_notes(folder / "notes" / f"{name}.md")
    cases = choose_cases(measured.errors, measured.spec.skeleton)
    if cases:
        label = f"People found by {name} over people annotated: " + "; ".join(one.title for one in cases)
        write_text(folder / f"{name}.svg", draw_cases(cases, label=label))
    figure = f"{name}.svg" if cases else None
    detected = any(row.way.startswith("boxes of") for row in measured.rows)
    command = COMMAND.format(name) + (" --detector FILE.onnx" if detected else "")
    text = card(measured, notes, figure=figure, command=command)
    write_text(folder / f"{name}.md", text)
    said, found = (facts.get("metrics") or {}).get("AP"), measured.rows[0].stats["AP"]
    lines = [f"{name}: AP {found:.3f} -> {folder / name}.md"]
    if said is None or abs(said - found) > NEAR:
        lines.append(f"  its file says AP {said}, measured was {found:.4f}: another rule, or other pictures?")
    if notes is None:
        lines.append(f"  nobody wrote notes/{name}.md yet")
    elif not str(facts.get("weights_sha256", "")).startswith(notes.written_for):
        lines.append(f"  notes/{name}.md is about earlier weights, {notes.written_for}: look anew")
    return lines


def index(cards: Sequence[ModelCard], top_down: Mapping[str, bool]) -> str:
    """Return the list of the shipped models as Markdown. top_down: by name."""
    lines = [
        "| model | finds people in | keypoints | input | parameters | MACs | file | AP |",
        "|---|---|---|---|---:|---:|---:|---|",
    ]
    for one in cards:
        ap = "-" if "AP" not in one.metrics else f"{one.metrics['AP']:.3f} on {one.measured_on}"
        lines.append(
            f"| [{one.name}]({one.name}.md) | {'boxes' if top_down[one.name] else 'the whole picture'} | "
            f"{one.skeleton} | {one.size[0]}x{one.size[1]} | {(one.params or 0) / 1e6:.2f} M | "
            f"{(one.macs or 0) / 1e9:.2f} G | {one.num_bytes / 1e6:.2f} MB | {ap} |"
        )
    return INDEX.format(pictures=PICTURES, table="\n".join(lines), command=COMMAND.format("NAME"))


if __name__ == "__main__":
    main(sys.argv[1:])
