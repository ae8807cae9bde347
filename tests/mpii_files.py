"""Small MPII lists with their pictures and the evaluator's .mat file, made for tests."""

import json

import cv2
import numpy as np

# A standing person in MPII's order, 100 px tall, 0-based.
POSE = np.array(
    [(44, 95), (44, 75), (44, 55), (56, 55), (56, 75), (56, 95), (50, 55), (50, 25),
     (50, 20), (50, 5), (32, 55), (34, 40), (40, 25), (60, 25), (66, 40), (68, 55)], dtype=float,
)  # fmt: skip
MAT_NAMES = ("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head", "rwri", "relb", "rsho",
             "lsho", "lelb", "lwri")  # fmt: skip
MAT_ARRAYS = ("jnt_missing", "pos_gt_src", "headboxes_src")


def record(image="1.jpg", offset=(0, 0), missing=(), **fields):
    """One person, 1-based as in the files; a field given as None is left out."""
    points = POSE + offset + 1
    points[list(missing)] = -1
    one = {
        "image": image,
        "center": [51.0 + offset[0], 47.0 + offset[1]],
        "scale": 0.5,
        "joints": points.tolist(),
        "joints_vis": [0 if k in missing else 1 for k in range(16)],
    } | fields
    return {key: value for key, value in one.items() if value is not None}


def write(folder, records, *, name="valid.json", under="annot", pictures=True, size=(120, 110)):
    """Write the list into `under` and each picture into `images` beside it; return the list's path."""
    (folder / under).mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    path = folder / under / name
    path.write_text(json.dumps(records))
    for number, image in enumerate(sorted({one["image"] for one in records}) if pictures else []):
        noise = np.random.default_rng(number).integers(0, 255, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / image), cv2.resize(noise, size))
    return path


def write_mat(path, records, *, head_side=20.0, names=MAT_NAMES):
    """Write the evaluator's truth of the records; every head box is a square of `head_side` px."""
    corner = np.array([[one["joints"][9][axis] for one in records] for axis in (0, 1)])  # (2, N)
    return save_mat(
        path,
        names=names,
        jnt_missing=1 - np.array([one["joints_vis"] for one in records], dtype=np.uint8).T,
        pos_gt_src=np.array([one["joints"] for one in records], dtype=float).transpose(1, 2, 0),
        headboxes_src=np.stack([corner, corner + head_side]),  # (corner, x or y, person)
    )


def save_mat(path, *, names=MAT_NAMES, **arrays):
    """Write names as MATLAB keeps them, a cell of texts, beside the arrays (needs scipy)."""
    from scipy.io import savemat

    cells = np.empty((1, len(names)), dtype=object)
    for k, name in enumerate(names):
        cells[0, k] = np.array([name])
    savemat(path, {"dataset_joints": cells, **arrays})
    return path
