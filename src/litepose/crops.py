"""Quick."""

from dataclasses import dataclass, replace
import numpy as np
from litepose.geometry import Warp, xywh_to_center_scale, xyxy_to_xywh

UPPER = lambda sk: np.array([not any(w in k for w in ("hip", "knee", "ankle")) for k in sk.keypoints])


def crop_person(sample, person, warp):
    order = sample.skeleton.mirror_indices if warp.mirrors else np.arange(sample.skeleton.num_keypoints)
    kp = sample.keypoints[person : person + 1][:, order].copy()
    kp[..., :2] = warp.points(kp[..., :2])
    kp[kp[..., 2] <= 0] = 0
    return replace(
        sample,
        image=warp.image(sample.image),
        keypoints=kp,
        boxes=sample.boxes[person : person + 1],
        areas=sample.areas[person : person + 1],
        ignore=None,
        labelled=None if sample.labelled is None else sample.labelled[order],
        keypoint_weights=None
        if sample.keypoint_weights is None
        else sample.keypoint_weights[person : person + 1][:, order],
        person_masks=None,
    )


@dataclass(frozen=True)
class RandomCrop:
    size: tuple
    udp: bool = False
    scale_factor: float = 0.25
    rotation_deg: float = 30.0
    rotation_probability: float = 0.6
    mirror: float = 0.5
    half_body_probability: float = 0.0
    half_body_min_keypoints: int = 8
    center_jitter_probability: float = 0.0
    center_jitter: float = 0.2

    def __call__(self, sample, rng):
        box = sample.boxes[0].astype(float)
        center, scale = xywh_to_center_scale(xyxy_to_xywh(box), self.size)
        center, scale = center.astype(float), scale.astype(float)
        if rng.random() < self.center_jitter_probability:
            center = center + self.center_jitter * rng.uniform(-1, 1, 2) * (box[2:] - box[:2])
        vis = sample.keypoints[0, :, 2] > 0
        if vis.sum() > self.half_body_min_keypoints and rng.random() < self.half_body_probability:
            up = UPPER(sample.skeleton) & vis
            lo = ~UPPER(sample.skeleton) & vis
            sel = up if rng.standard_normal() < 0.5 and up.sum() > 2 else (lo if lo.sum() > 2 else up)
            if sel.sum() >= 2:
                pts = sample.keypoints[0, sel, :2].astype(float)
                center = pts.mean(0)
                w, h = pts.max(0) - pts.min(0)
                a = self.size[0] / self.size[1]
                w, h = max(w, h * a, 1), max(h, w / a, 1)
                scale = np.array([w, h]) / 200 * 1.5
        f = self.scale_factor
        scale = scale * np.clip(1 + f * rng.standard_normal(), 1 - f, 1 + f)
        r = self.rotation_deg
        rot = np.clip(r * rng.standard_normal(), -2 * r, 2 * r) if rng.random() < self.rotation_probability else 0.0
        warp = Warp.hrnet(center, scale, float(rot), self.size)
        if rng.random() < self.mirror:
            warp = warp.then(Warp.mirror(self.size))
        return crop_person(sample, 0, warp)
