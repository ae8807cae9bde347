"""The words of a model card: what was measured, what the model's file says, and what was written by hand."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from card_measures import Measured, Row, Speed
from card_notes import Notes

from litepose.failure_report import words
from litepose.metrics.pck_diagnosis import PckDiagnosis
from litepose.metrics.slices import Slice
from litepose.spec import PoseSpec
from litepose.weights import DEFAULT

STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "OKS", "PCK")
SORTINGS = ("everybody", "size", "crowding", "hidden keypoints", "torso", "picture border")
RULES = {
    "short_side": "the shorter side to {short} px, the other to a multiple of {multiple}",
    "box": "a crop of {width}x{height} around each box, its shape kept and widened by a quarter",
    "box_udp": "a crop of {width}x{height} around each box (UDP), its shape kept and widened by a quarter",
    "letterbox": "the whole picture letterboxed into {width}x{height}",
    "stretch": "the whole picture stretched to {width}x{height}",
    "height": "{height} px high, as wide as the picture is",
}
THRESHOLDS = ("detection_threshold", "tag_threshold", "score_threshold", "nms", "nms_threshold", "max_people")
# Of coco/train.json: pictures of val2017, and pictures whose licence is not recorded.
FROM_VAL2017, WITHOUT_LICENCE = 347, 934
# What each set of the provenance is, and whose. The first that a line of it begins with counts.
RIGHTS = {
    "coco": "COCO 2017: annotations by the COCO Consortium, CC BY 4.0; the photographs under the Flickr licences of "
    "their owners, several of which forbid commercial use or changes",
    "lspet": "Leeds Sports Pose Extended: Johnson and Everingham, \"Learning Effective Human Pose Estimation from "
    "Inaccurate Annotation\", CVPR 2011; no licence stated, offered for research, citation asked for",
    "negatives": "COCO 2017 photographs without people: under the Flickr licences of their owners",
    "composites": "Composites: put together by litepose from people and pictures named here, and under their rights",
    "drawn": "Drawn people: by litepose; the poses are COCO's annotations (CC BY 4.0)",
}  # fmt: skip
HINTS = "maps of RTMDet-nano, a person detector of OpenMMLab (Apache-2.0), served as hints in a part of the training"
SHOWN_ELSEWHERE = ("source", "recipe", "data", "metrics", "cost", "hints", "weights_sha256", "licence", "measured_on")
LINE = 120
PICTURES = "../../src/litepose/weights/pictures.json"


def card(measured: Measured, notes: Notes | None, *, figure: str | None, command: str) -> str:
    """Return the card as Markdown. figure: its file, as seen from the card. command: what made the card."""
    sections = {} if notes is None else notes.sections
    facts = measured.spec.provenance
    parts = [
        f"# {measured.name}",
        _one_sentence(measured),
        sections.get("In short", ""),
        _aged(notes, str(facts.get("weights_sha256", ""))),
        _facts(measured),
        "## Intended use\n\n" + _use(measured),
        f"## How good it is\n\n{_accuracy(measured)}",
        "### By kind of people\n\n" + _slices(measured.diagnosis.slices),
        "" if measured.lspet is None else "### Sports pictures\n\n" + _sports(measured.lspet, measured.name),
        "## How fast it is\n\n" + _speed(measured.speed, measured),
        "## Known failures\n\n" + _failures(measured, figure),
        sections.get("Known failures", ""),
        "### Looked at\n\n" + sections.get("Looked at", "Nobody has written down yet what its pictures look like."),
        "## Data and rights\n\n" + _data(facts),
        "## Training\n\n" + _training(facts, measured.name),
        sections.get("Training", ""),
        f"---\n\nMade by\n\n    {command}\n\nWhat is written by hand stands in `docs/models/notes/{measured.name}.md`.",
    ]
    return wrapped("\n\n".join(part.strip() for part in parts if part.strip())) + "\n"


def wrapped(text: str) -> str:
    """Return Markdown with its lines broken where they are too long, but for tables, figures, headings and commands."""
    lines = []
    for line in text.split("\n"):
        if len(line) <= LINE or line.startswith(("|", "!", "#", "    ")):
            lines.append(line)
            continue
        indent = "  " if line.startswith("- ") else "> " if line.startswith("> ") else ""
        lines += textwrap.wrap(line, LINE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _one_sentence(measured: Measured) -> str:
    width, height = measured.spec.input.size
    what = (
        f"`{measured.name}` finds the {measured.spec.skeleton.num_keypoints} keypoints of the person in a box "
        f"(top-down), in crops of {width}x{height}"
        if measured.top_down
        else f"`{measured.name}` finds everybody in a picture and their {measured.spec.skeleton.num_keypoints} "
        f"keypoints in one pass (bottom-up), at {width}x{height}"
    )
    return what + "."


def _aged(notes: Notes | None, sha256: str) -> str:
    if notes is None or sha256.startswith(notes.written_for):
        return ""
    return (
        f"> **What is written by hand here (in short, known failures, looked at) is about earlier weights "
        f"({notes.written_for}).** The numbers and the figure are of these."
    )


def _facts(measured: Measured) -> str:
    spec, facts = measured.spec, measured.spec.provenance
    cost = facts.get("cost") or {}
    metrics = facts.get("metrics") or {}
    rows = {
        "file": f"`src/litepose/weights/{measured.name}.onnx`, {measured.num_bytes:,} bytes",
        "sha256 of the file": f"`{measured.sha256}`",
        "sha256 of the weights": f"`{facts.get('weights_sha256', 'not recorded')}`",
        "keypoints": f"{spec.skeleton.name}, {spec.skeleton.num_keypoints}",
        "parameters": f"{cost.get('params', 0):,}",
        "MACs": f"{cost.get('macs', 0):,} of one {'x'.join(map(str, cost.get('size', ())))} input, as executed",
        "input": _input_rule(spec) + f"; {spec.input.colour}",
        "decoding": _thresholds(spec),
        "AP, as the file says": f"AP {metrics.get('AP', -1):.3f} ({facts.get('measured_on', 'not said on what')})",
        "licence": str(facts.get("licence", "not recorded")),
    }
    if facts.get("status"):
        rows["status"] = str(facts["status"])
    return _table(["", ""], [[name, value] for name, value in rows.items()])


def _input_rule(spec: PoseSpec) -> str:
    width, height = spec.input.size
    rule = RULES.get(spec.input.resize, spec.input.resize)
    return rule.format(width=width, height=height, short=min(width, height), multiple=64)


def _thresholds(spec: PoseSpec) -> str:
    values = {name: getattr(spec.codec, name) for name in THRESHOLDS if hasattr(spec.codec, name)}
    said = ", ".join(f"{name} {value}" for name, value in values.items())
    return f"{spec.codec.name}, {getattr(spec.codec, 'mode', 'exact')}: {said}"


def _use(measured: Measured) -> str:
    whom = (
        f"It looks where a box is, so it needs a detector or annotated boxes; without `--boxes`, {DEFAULT} gives them "
        "and limits it."
        if measured.top_down
        else "It finds people by itself, at about the size that they had in training: in pictures larger or smaller "
        "than its input rule makes them it finds fewer."
    )
    return (
        "For trying litepose out, as a start for training on pictures of one's own (`litepose train --from "
        f"{measured.name}`), and for tests of speed and deployment. {whom}\n\n"
        "Not for: decisions about people (safety, health, work, law), identifying anybody, counting where a miss "
        "matters, or products without a measurement on their own pictures. Who needs cleared picture rights trains on "
        "data of their own. Do not measure it on all of COCO val2017: a part of that was trained on (below)."
    )


def _accuracy(measured: Measured) -> str:
    names = [name for name in STATS if any(name in row.stats for row in measured.rows)]
    heads = ["", *({"OKS": "mean OKS", "PCK": "PCK@0.2"}.get(name, name) for name in names), "95 % of AP"]
    table = _table(heads, [[row.way, *(_share(row.stats[name]) for name in names), _interval(row)]
                           for row in measured.rows])  # fmt: skip
    options = sorted({row.options for row in measured.rows if row.options})
    return (
        f"litepose val-129: {measured.num_pictures} pictures of COCO val2017 with complete annotations, "
        f"{measured.num_people} people, COCO's protocol; their numbers are in [pictures.json]({PICTURES}). So few "
        "pictures leave AP uncertain: the last column is what other draws of as many would give.\n\n"
        f"{table}\n\n"
        f"`litepose eval -m {measured.name} --data coco/val.json`"
        + (f", the other rows with {', '.join(f'`{one}`' for one in options)}." if options else ".")
    )


def _interval(row: Row) -> str:
    return f"{row.interval[0]:.3f} to {row.interval[1]:.3f}"


def _slices(slices: Sequence[Slice]) -> str:
    chosen = [one for one in slices if one.kind.startswith(SORTINGS)]
    rows = [
        [one.name if one.kind == one.name else f"{one.kind.split(' (')[0]}: {one.name}", str(one.num_people),
         _share(one.AP), f"{one.oks:.3f}", f"{one.missed:.0%}"]
        for one in chosen
    ]  # fmt: skip
    return (
        _table(["people", "number", "AP", "mean OKS", "missed"], rows)
        + "\n\nAP here leaves out people found on nobody; missed: nobody found with an OKS of 0.1. Crowding is the "
        "overlap with another's box; the torso's direction is that from shoulders to hips."
    )


def _sports(lspet: PckDiagnosis, name: str) -> str:
    rows = [[one.name if one.kind == one.name else f"{one.kind}: {one.name}", str(one.num_people), _share(one.pck)]
            for one in lspet.slices if one.kind in ("everybody", "torso")]  # fmt: skip
    return (
        "The 500 unselected pictures of the validation part of Leeds Sports Pose Extended, annotated boxes: PCK@0.2 "
        f"of the torso diagonal {lspet.pck:.3f}, over the {lspet.num_people} people whose diagonal is labelled. The "
        "labels are noisy, and about 10 of the pictures show a sports event that other photographs of training show "
        "too (`python benchmarks/same_photographs.py DATA --parts`).\n\n"
        + _table(["people", "number", "PCK@0.2"], rows)
        + f"\n\n`litepose eval -m {name} --data lspet/val.json --protocol pck`"
    )  # fmt: skip


def _speed(speed: Speed | None, measured: Measured) -> str:
    if speed is None:
        return "Not timed."
    report = speed.report
    steps = _table(["", *report.steps, "sum"], [
        ["CPU ms", *(f"{step.cpu_ms:.1f}" for step in report.steps.values()),
         f"{sum(step.cpu_ms for step in report.steps.values()):.1f}"],
        ["wall ms", *(f"{step.median_ms:.1f}" for step in report.steps.values()), f"{report.total_ms:.1f}"],
    ])  # fmt: skip
    people = f"{report.people} boxes" if measured.top_down else f"{report.people} people found"
    lines = [
        f"One drawn picture of 640x480, {people}, ONNX Runtime, one thread, medians of {report.repeat} rounds, load "
        f"average {report.load or 0:.1f} (wall time counts the neighbours, CPU time does not):",
        steps,
    ]
    if report.gflops is not None:
        shares = {"of one core's multiply-adds": report.peak_share, "of a dense convolution's": report.attained_share}
        said = [f"{share:.0%} {name} rate" for name, share in shares.items() if share is not None]
        lines.append(f"The network runs at {report.gflops:.0f} GFLOP/s: " + ", ".join(said) + ".")
    if speed.ratio is not None:
        whole, network = (_slower(values) for values in (speed.ratio.whole, speed.ratio.network))
        lines.append(
            f"Beside {DEFAULT}, in turns in one process (CPU time, median of the rounds' ratios, quartiles): all steps "
            f"take {whole} of its time, the network {network}."
        )
    return "\n\n".join([*lines, f"`litepose bench {DEFAULT} {measured.name}`".replace(f"{DEFAULT} {DEFAULT}", DEFAULT)])


def _slower(faster: tuple[float, float, float]) -> str:
    """Return "2.00 (1.90 .. 2.10)" times for how much faster something is."""
    high, middle, low = (1 / value for value in faster)
    return f"{middle:.2f} times ({low:.2f} .. {high:.2f})"


def _failures(measured: Measured, figure: str | None) -> str:
    threshold = measured.diagnosis.curves.threshold
    lines = ["\n".join(f"- {sentence}" for sentence in words.summary(measured.diagnosis))]
    if figure is not None:
        score = "" if threshold is None else f" (score from {threshold.score:.2f}, where precision and recall balance)"
        lines += [
            f"![People found by {measured.name} over people annotated]({figure})",
            "Wide and pale: annotated; narrow and dark: the person found; orange: left; blue: right; dotted red: from "
            f"a wrong keypoint to its true place. Shown is who is found with a good score{score}. Keypoint annotations "
            "of the COCO Consortium, CC BY 4.0; the photographs are not shown, because they belong to others.",
        ]
    return "\n\n".join(lines)


def _data(facts: Mapping[str, Any]) -> str:
    listed = facts.get("data") or ()
    listed = [listed] if isinstance(listed, str) else list(listed)
    lines = [f"- {one}" for one in listed] or ["- not recorded"]
    kinds = [kind for kind in RIGHTS if any(kind in one.lower() for one in listed)]
    rights = [f"- {RIGHTS[kind]}." for kind in kinds]
    if facts.get("hints") or (facts.get("recipe") or {}).get("hints"):
        rights.append(f"- {HINTS[0].upper()}{HINTS[1:]}.")
    return (
        "Trained on:\n\n" + "\n".join(lines) + "\n\nWhose they are:\n\n" + "\n".join(rights) + "\n\n"
        f"The numbers of all training pictures and of the validation pictures are in [pictures.json]({PICTURES}); no "
        "picture is in both, and no photograph under two names (`python benchmarks/same_photographs.py DATA`). Of the "
        f"COCO photographs with people in training {FROM_VAL2017} are of COCO val2017, so AP on all of val2017 would "
        f"be too high; of {WITHOUT_LICENCE} the photograph's licence is not known here."
    )


def _training(facts: Mapping[str, Any], name: str) -> str:
    recipe = facts.get("recipe") or {}
    optim, run, data = (recipe.get(part) or {} for part in ("optim", "run", "data"))
    sizes = [stage["size"] for stage in run.get("size_schedule") or ()] or [(recipe.get("model") or {}).get("size")]
    sources = ", ".join(f"{one.get('source')} {one.get('weight', 1):g}" for one in data.get("train") or ())
    rows = {
        "network, codec": f"{(recipe.get('model') or {}).get('name')}, {(recipe.get('codec') or {}).get('name')}",
        "samples in all": f"{facts['samples_seen']:,}" if "samples_seen" in facts else None,
        "steps of the last run": f"{facts['step']:,}" if "step" in facts else None,
        "input sizes of the last run": ", ".join(f"{size[0]}x{size[1]}" for size in sizes if size),
        "sources and their shares": sources,
        "optimizer": f"{optim.get('name')}, learning rate {optim.get('lr')}, {optim.get('schedule')}, weight decay "
        f"{optim.get('weight_decay')}, EMA {optim.get('ema_decay')}",
        "batch, precision, seed": f"{run.get('batch')}, {run.get('precision')}, {run.get('seed')}",
        "hours": facts.get("hours"),
        "command": f"`{facts['command']}`" if "command" in facts else None,
        "hints": _plain(facts["hints"]) if "hints" in facts else None,
    }
    known = {*SHOWN_ELSEWHERE, "samples_seen", "step", "hours", "command", "status"}
    rows |= {key.replace("_", " "): _plain(value) for key, value in facts.items() if key not in known}
    table = _table(["", ""], [[key, str(value)] for key, value in rows.items() if value])
    return (
        f"{table}\n\nThe whole recipe stands in the file: `litepose info src/litepose/weights/{name}.onnx --json "
        "info.json`. The runs one by one, and what else was tried: [experiments.md](../experiments.md)."
    )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _share(value: float) -> str:
    return f"{value:.3f}" if value >= 0 else "-"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
