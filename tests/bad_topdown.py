"""Bad input of top-down models: rows of the tables in test_bad_input.py."""

from __future__ import annotations

import json
from typing import Any

import mpii_files
from bad_files import Make, crop_checkpoint, model, mpii, nothing, text, two_without_joints

EVAL = "eval -m dots.onnx --threads 1 --json report.json --data"
TRAIN = "train -o run"
CROPS = "predict -m crops.onnx --threads 1 -o out good.png --boxes"
CROP_EVAL = "eval -m crops.onnx --threads 1 --json report.json --data truth.json --boxes"


def boxes(name: str, **changes: Any) -> Make:
    """A file of one detection in the picture "good", or 1, with some fields changed, None = without it."""
    detection = {"image_id": "good", "category_id": 1, "bbox": [10, 10, 200, 200], "score": 0.9, **changes}
    rows = [{key: value for key, value in detection.items() if value is not None}]
    return text(name, json.dumps(rows))


BOXES: dict[str, tuple[Make, str, str, list[str]]] = {
    "boxes for a bottom-up model": (
        nothing,
        "predict -m dots.onnx --threads 1 -o out good.png --boxes picture",
        "SettingError",
        ["dots was given boxes", "whole picture", "Leave"],
    ),
    "boxes from an unknown model": (nothing, f"{CROPS} litepose_xx", "ModelError", ["litepose_xx", "Did you mean"]),
    "boxes from an absent detector": (nothing, f"{CROPS} gone.onnx", "ModelError", ["gone.onnx"]),
    "boxes from an absent file": (nothing, f"{CROPS} gone.json", "AnnotationError", ["gone.json", "cannot be read"]),
    "detections that are no json": (
        text("d1.json", "["), f"{CROPS} d1.json", "AnnotationError", ["d1.json is no JSON", "COCO detection file"]
    ),
    "annotations as detections": (nothing, f"{CROPS} truth.json", "AnnotationError", ["truth.json", "a list", "gt"]),
    "detections of other pictures": (
        boxes("d2.json", image_id=77), f"{CROPS} d2.json", "AnnotationError", ["77", "none", "good.png"]
    ),
    "detections without score": (
        boxes("d3.json", score=None), f"{CROPS} d3.json", "AnnotationError", ["number 0", "'score'", "bbox"]
    ),
    "detections without box": (
        boxes("d4.json", bbox=None), f"{CROPS} d4.json", "AnnotationError", ["number 0", "'bbox'"]
    ),
    "box of three numbers in a file": (
        boxes("d5.json", bbox=[1, 2, 3]), f"{CROPS} d5.json", "AnnotationError", ["number 0", "width, height"]
    ),
    "box outside the picture": (
        boxes("d6.json", bbox=[900, 10, 50, 50]), f"{CROPS} d6.json", "SettingError", ["good.png", "256x256", "900"]
    ),
    "boxes of other pictures in an evaluation": (
        boxes("d7.json"), f"{CROP_EVAL} d7.json", "AnnotationError", ["'good'", "such as 1"]
    ),
    "box outside the picture in an evaluation": (
        boxes("d8.json", image_id=1, bbox=[0, -90, 50, 50]), f"{CROP_EVAL} d8.json", "SettingError",
        ["picture 1", "256x256", "-90"],
    ),
    "text as detector": (text("d9.onnx", "hi"), f"{CROPS} d9.onnx", "ModelError", ["d9.onnx", "no model"]),
    "a network that detects nothing": (
        model("maps.onnx", metadata={}), f"{CROPS} maps.onnx", "ModelError", ["maps.onnx", r"\(\.\.\., N, 5\)"]
    ),
}  # fmt: skip

SIDED = text("sided.json", '{"name": "sided", "keypoints": ["nose", "left_wrist", "right_wrist"]}')
TRAIN_CROPS = f"{TRAIN} litehrnet_naive_18_mpii --data synthetic:people=1"
MPII_EVAL = "eval -m crops.onnx --threads 1 --json report.json --data"

TOP_DOWN: dict[str, tuple[Make, str, str, list[str]]] = {
    "crop size off the stride": (nothing, f"{CROPS} picture --size 100x100", "InputSizeError", ["100x100", "112x112"]),
    "crop size off the stride in an evaluation": (
        nothing, f"{CROP_EVAL} gt --size 192x250", "InputSizeError", ["192x250", "Use 192x256"]
    ),
    "crop size off the stride asked about": (
        nothing, "info litehrnet_18 --size 192x250", "InputSizeError", ["litehrnet_18", "192x250", "Use 192x256"]
    ),
    "crop size off the stride in an export": (
        crop_checkpoint, "export crops.safetensors -o out.onnx --size 100x130", "InputSizeError",
        ["100x130", "Use 128x160"],
    ),
    "crop size off the stride in a recipe": (
        nothing, f"{TRAIN_CROPS} --set model.size=[100,130]", "InputSizeError", ["100x130", "Use 128x160"]
    ),
    "size off the stride later in a recipe": (
        nothing, f"{TRAIN_CROPS} --set run.size_schedule=[{{from_share=0.0,size=[100,130]}}]", "InputSizeError",
        ["100x130", "Use 128x160"],
    ),
    "boxes for a bottom-up model in an evaluation": (
        nothing, f"{EVAL} truth.json --boxes gt", "SettingError", ["dots was given boxes", "Leave"]
    ),
    "MPII without its head boxes": (
        mpii("mpii1", None), f"{MPII_EVAL} mpii1/annot/valid.json", "AnnotationError",
        ["head boxes", "gt_valid.mat", "validation split"],
    ),
    "text as a .mat file": (
        mpii("mpii2", lambda path: path.write_text("joints")), f"{MPII_EVAL} mpii2/annot/valid.json",
        "AnnotationError", ["gt_valid.mat cannot be read as a .mat file", "mpii_gt_val.mat"],
    ),
    "a .mat file of something else": (
        mpii("mpii3", mpii_files.save_mat), f"{MPII_EVAL} mpii3/annot/valid.json", "AnnotationError",
        ["gt_valid.mat lacks jnt_missing", "found dataset_joints"],
    ),
    "MPII records without joints": (
        mpii("mpii5", None, two_without_joints), f"{MPII_EVAL} mpii5/annot/valid.json", "AnnotationError",
        ["1 of 2 records have no 'joints'", "a.jpg"],
    ),
    "training on MPII without any joints": (
        mpii("mpii6", None, lambda one: one[0].pop("joints")),
        f"{TRAIN} litehrnet_naive_18_mpii --data mpii6/annot/valid.json", "AnnotationError",
        ["nobody", "keypoint labelled on skeleton mpii16"],
    ),
    "a bottom-up model on MPII": (
        mpii("mpii8", None), "eval -m dots.onnx --threads 1 --data mpii8/annot/valid.json", "SettingError",
        ["annotated box", "top-down model"],
    ),
    "other boxes on MPII": (
        mpii("mpii9", None), f"{MPII_EVAL} mpii9/annot/valid.json --boxes picture", "SettingError",
        ["--boxes picture", "Leave --boxes out"],
    ),
    "crops mirrored without pairs": (
        SIDED, f"{TRAIN_CROPS} --set model.skeleton=sided.json", "RecipeError",
        [r"\[augment.geometric\]", "'sided'", "left_wrist, right_wrist", "mirror = 0"],
    ),
    "pictures mirrored without pairs": (
        SIDED, f"{TRAIN} litepose_xs_synthetic --set model.skeleton=sided.json", "RecipeError",
        [r"\[augment.geometric\]", "'sided'", "left_wrist, right_wrist", "mirror = 0"],
    ),
    "a crop's probability above 1": (
        nothing, f"{TRAIN_CROPS} --set augment.geometric.mirror=1.5", "RecipeError",
        [r"\[augment.geometric\]", "mirror", "1.5", "0 to 1"],
    ),
    "a crop's setting of letters": (
        nothing, f"{TRAIN_CROPS} --set augment.geometric.rotation_deg=much", "RecipeError",
        [r"\[augment.geometric\]", "rotation_deg = 'much'", "Numbers"],
    ),
    "a picture's setting for crops": (
        nothing, f"{TRAIN_CROPS} --set augment.geometric.translate_px=3", "RecipeError",
        ["translate_px", "center_jitter"],
    ),
    "a bottom-up codec for crops": (
        nothing, f"{TRAIN_CROPS} --set codec.name=ae", "RecipeError",
        ["'ae'", "litehrnet_naive_18 is a top-down network", "'heatmap'"],
    ),
    "a top-down codec for whole pictures": (
        nothing, f"{TRAIN} litepose_xs_synthetic --set codec.name=heatmap", "RecipeError",
        ["'heatmap'", "litepose_xs is a bottom-up network", "'ae'"],
    ),
    "unknown refinement": (
        nothing, f"{TRAIN_CROPS} --set codec.refinement=quartre", "RecipeError",
        [r"\[codec\]", "'quartre'", "Did you mean 'quarter'"],
    ),
    "no stages": (nothing, f"{TRAIN_CROPS} --set run.stages=0", "RecipeError", ["run.stages = 0", "greater than 0"]),
}  # fmt: skip
