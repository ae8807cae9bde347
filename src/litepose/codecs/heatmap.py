"""One heatmap for each keypoint of the one person in a crop: what the top-down networks say.

Sources: HRNet/Lite-HRNet@7b9049d with mmpose 0.13 (targets, decoding, flip test, rescoring, OKS-NMS) and
zhang943/lpn-pytorch@f397525 (beta-soft-argmax, keypoint weights, BIAS). Differs: crops may be looked at in several
sizes, a crop in which nothing is found holds nobody, and scores are never below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np

from litepose.codecs.base import Found, MapLayers, Pass, check_finite, check_outputs
from litepose.codecs.heatmap_peaks import REFINEMENTS, PeakReader
from litepose.codecs.heatmap_targets import (
    ENCODINGS,
    UDP_ENCODINGS,
    HeatmapPlan,
    HeatmapTargets,
    cell_px,
    draw,
    plan_targets,
)
from litepose.errors import SettingError, nearest_name
from litepose.geometry import check_input_size
from litepose.poses import Poses, Sample, concatenate
from litepose.similarity import oks_nms, soft_oks_nms
from litepose.skeleton import Skeleton

MODES = ("exact", "fast")
SUPPRESSIONS = ("hard", "soft", "none")
PAIRED = ("udp_combined", "megvii")  # maps of these encodings are read by the refinement of that name and no other


@dataclass(frozen=True)
class HeatmapCodec:
    """Settings of top-down heatmaps; the defaults are Lite-HRNet's.

    mode: "exact" = the reference's numbers; "fast" differs for "dark" alone (see `decode`).
    output_stride: input px per map cell.
    encoding: "gaussian" (HRNet: around the nearest cell, cut off at 3 sigma), "dark" (around the keypoint itself, whole
        map), "udp" (around the keypoint, cut off, cells spread from the first to the last pixel), "udp_combined" (a
        disc and in it the offsets to the keypoint: three maps for each keypoint), "megvii" (a blurred cell, 255 high).
    sigma: of the gaussians, cells; 2 for inputs of 256x192, 3 for 384x288.
    kernel: side of the blur of "megvii" targets and of "dark", "udp", "udp_combined" and "megvii" decoding, odd, cells:
        11 for a sigma of 2, 17 for 3. In "udp_combined" the heat is blurred with 2 kernel + 1.
    offset_radius: of the discs of "udp_combined", as a share of the map's height.
    refinement: where between the cells a peak lies: "quarter" step towards the higher neighbour, "none", "dark", "udp",
        "udp_combined" or "megvii" (these two only for their own encoding), "soft_argmax" (LPN).
    beta: of "soft_argmax". soft_quarter: take the quarter step after it too, as LPN does.
    shift_mirrored: move the maps of the mirrored input one column to the right before they are averaged, which HRNet's
        grid needs (the first column stays); leave it out for "megvii", whose cells mirror onto cells. UDP's maps are
        never moved, as their grid mirrors onto itself.
    bias_px: subtracted from x and y in picture px at the very end: LPN's TEST.BIAS, 1 for its MPII weights and else 0.
        Nobody explained it; most likely it makes up for what flip test and 1-based annotations shift.
    keypoint_weights: factors of the targets' weights, one for each keypoint (LPN's joints_weight); empty = 1 for all.
    score_threshold: a person's score is the mean of its keypoint scores above this, 0 if there are none.
    nms: how people found twice are taken out: "hard" (a lower-scored one with more than nms_threshold OKS), "soft" (the
        first max_people in soft-NMS order, whose penalty is exp(-oks^2 / nms_threshold)), "none".
    """

    name: ClassVar[str] = "heatmap"

    mode: str = "exact"
    output_stride: int = 4
    encoding: str = "gaussian"
    sigma: float = 2.0
    kernel: int = 11
    offset_radius: float = 0.0546875
    refinement: str = "quarter"
    beta: float = 160.0
    soft_quarter: bool = True
    shift_mirrored: bool = True
    bias_px: float = 0.0
    keypoint_weights: tuple[float, ...] = ()
    score_threshold: float = 0.2
    nms: str = "hard"
    nms_threshold: float = 0.9
    max_people: int = 20

    def __post_init__(self) -> None:
        choices = {"mode": MODES, "encoding": ENCODINGS, "refinement": REFINEMENTS, "nms": SUPPRESSIONS}
        for setting, possible in choices.items():
            asked = getattr(self, setting)
            if asked not in possible:
                what = "decoding mode" if setting == "mode" else f"heatmap {setting}"
                raise SettingError(f"No {what} {asked!r}. {nearest_name(str(asked), possible)}")
        if self.encoding != self.refinement and (self.encoding in PAIRED or self.refinement in PAIRED):
            raise SettingError(
                f"Heatmap encoding {self.encoding!r} with refinement {self.refinement!r}: {' and '.join(PAIRED)} maps "
                "are read by their own refinement, which reads no others. Give both the same name."
            )
        if min(self.output_stride, self.max_people) < 1 or self.kernel < 3 or self.kernel % 2 == 0:
            raise SettingError(
                f"Heatmap output_stride {self.output_stride}, max_people {self.max_people}, kernel {self.kernel}: the "
                "first two must be at least 1, the third odd and at least 3."
            )
        for setting in ("sigma", "offset_radius", "beta", "nms_threshold"):
            if not getattr(self, setting) > 0:
                raise SettingError(f"Heatmap {setting} {getattr(self, setting)}: it must be positive.")
        if any(not weight >= 0 for weight in self.keypoint_weights):
            raise SettingError(f"Heatmap keypoint_weights {self.keypoint_weights}: give 0 or more for each keypoint.")

    @property
    def udp(self) -> bool:
        """Whether the maps have UDP's grid, for which crops are cut by `Warp.udp`."""
        return self.encoding in UDP_ENCODINGS

    @property
    def maps_per_keypoint(self) -> int:
        """How many channels belong to one keypoint, side by side."""
        return 3 if self.encoding == "udp_combined" else 1

    def channels(self, skeleton: Skeleton) -> tuple[int, ...]:
        """Return how many channels each network output needs."""
        return (skeleton.num_keypoints * self.maps_per_keypoint,)

    def channel_names(self, skeleton: Skeleton) -> tuple[tuple[str, ...], ...]:
        """Return what each channel of each network output means; a name means the same on every skeleton."""
        maps = ("heatmap", "x offset", "y offset")[: self.maps_per_keypoint]
        return (tuple(f"{kind} of {name}" for name in skeleton.keypoints for kind in maps),)

    def strides(self) -> tuple[int, ...]:
        """Return input px per map cell of each network output."""
        return (self.output_stride,)

    def encode(self, sample: Sample, input_size: tuple[int, int]) -> HeatmapTargets:
        """Return the training targets of the sample's first person; see `plan`."""
        planned = self.plan(sample, input_size)
        return draw(planned) if isinstance(planned, HeatmapPlan) else planned

    def plan(self, sample: Sample, input_size: tuple[int, int]) -> HeatmapPlan | HeatmapTargets:
        """Return what those are drawn from, or, of encodings that have nothing smaller, the targets themselves.

        Of a sample without people they are empty maps of weight 0.

        sample: in the frame of the network input. A keypoint outside the input is learned as long as its gaussian (with
        "megvii", its cell) touches the map; with "udp_combined" always, as in the reference. Weight 0: not labelled,
        or of weight 0 in the sample. Raises InputSizeError, SettingError.
        """
        check_input_size(input_size, self.output_stride, name=f"A map of stride {self.output_stride}")
        size = input_size[0] // self.output_stride, input_size[1] // self.output_stride
        person = sample.keypoints[0] if len(sample) else np.zeros((sample.skeleton.num_keypoints, 3))
        learned = person[:, 2] > 0
        if len(sample) and sample.keypoint_weights is not None:
            learned = learned & (sample.keypoint_weights[0] > 0)
        if sample.labelled is not None:
            learned = learned & sample.labelled
        targets = plan_targets(
            person[:, :2], learned, encoding=self.encoding, stride=self.output_stride, size=size, sigma=self.sigma,
            kernel=self.kernel, offset_radius=self.offset_radius,
        )  # fmt: skip
        return replace(targets, weights=targets.weights * self._weights(sample.skeleton))

    def aggregate(self, passes: Sequence[Pass], size: tuple[int, int], skeleton: Skeleton) -> np.ndarray:
        """Return the mean of the maps of all passes, plain, mirrored, at several scales: (C, h, w) float32.

        size: (w, h) of the input at scale 1. Maps of other scales are resized to its maps; crops of all sizes are cut
        by the same rule, so a cell's place grows with the grid. No reference has several scales here.
        Raises ModelError where outputs do not fit.
        """
        wanted, cells = self.channels(skeleton), (size[0] // self.output_stride, size[1] // self.output_stride)
        merged = []
        for one in passes:
            check_outputs(one.outputs, wanted)
            maps = np.asarray(one.outputs[0], dtype=np.float32)
            maps = self._mirrored_back(maps, skeleton) if one.mirrored else maps
            merged.append(maps if maps.shape[:0:-1] == cells else self._resized(maps, cells))
        return sum(merged[1:], start=merged[0]) / np.float32(len(merged))

    def decode(self, maps: np.ndarray, skeleton: Skeleton) -> Poses:
        """Return the one person of a crop, in px of the network input at scale 1; nobody where all maps are empty.

        keypoint_scores are heats ("megvii": heat / 255 + 0.5); 0 = not found, where no cell is above 0. Such a
        keypoint's position is that of the cell (-1, -1), as in the references, whose evaluation counts it all the same;
        with "soft_argmax" it is the mean position.
        "fast" is "exact" but for "dark": only the cells around a peak are blurred, and their height is not restored,
        which moves a keypoint only where the blurred heat falls to nothing within two cells of its peak.
        Raises ModelError where maps are not finite.
        """
        check_finite(maps, "heatmaps")
        points, heats = self._reader(maps)
        if not heats.any():
            return Poses.empty(skeleton)
        keypoints = points * cell_px(self.encoding, self.output_stride, (maps.shape[2], maps.shape[1]))
        return Poses(skeleton, keypoints[None], heats[None], np.array([self.score(heats)]))

    def score(self, keypoint_scores: np.ndarray) -> float:
        """Return a person's score from its keypoints' (K,): the mean of those above the threshold, 0 without any."""
        good = keypoint_scores[keypoint_scores > self.score_threshold]
        return float(good.mean(dtype=np.float64)) if len(good) else 0.0

    def layers(self, maps: np.ndarray, skeleton: Skeleton) -> MapLayers:
        """Return the heatmaps without the offsets of "udp_combined"; those of "megvii" are 255 high."""
        heatmaps = maps.reshape(skeleton.num_keypoints, -1, *maps.shape[1:])[:, 0]
        return MapLayers(heatmaps / np.float32(255) if self.encoding == "megvii" else heatmaps)

    def join(self, found: Sequence[Found], skeleton: Skeleton) -> Poses:
        """Return the people of all crops: scored by person times box, without those found twice, less the bias."""
        frames = [one for one in found if len(one.poses)]
        if not frames:
            return Poses.empty(skeleton)
        people = concatenate([one.poses for one in frames])
        counts = [len(one.poses) for one in frames]
        scores = people.scores * np.repeat([one.score for one in frames], counts)
        areas = np.repeat([one.area for one in frames], counts)
        people = replace(people, scores=scores, keypoints=people.keypoints - np.float32(self.bias_px))
        return people[self._kept(people.keypoints, scores, areas, skeleton)]

    def _kept(self, keypoints: np.ndarray, scores: np.ndarray, areas: np.ndarray, skeleton: Skeleton) -> np.ndarray:
        """Return which people are nobody else: indices (M,) int64."""
        if self.nms == "none":
            return np.arange(len(scores))
        if self.nms == "hard":
            return oks_nms(keypoints, scores, areas=areas, sigmas=skeleton.oks_sigmas, threshold=self.nms_threshold)
        return soft_oks_nms(
            keypoints, scores, areas=areas, sigmas=skeleton.oks_sigmas, threshold=self.nms_threshold,
            most=self.max_people,
        )  # fmt: skip

    @property
    def _reader(self) -> PeakReader:
        return PeakReader(
            self.refinement, kernel=self.kernel, beta=self.beta, soft_quarter=self.soft_quarter,
            offset_radius=self.offset_radius, whole=self.mode == "exact",
        )  # fmt: skip

    def _weights(self, skeleton: Skeleton) -> np.ndarray:
        if not self.keypoint_weights:
            return np.ones(skeleton.num_keypoints, dtype=np.float32)
        if len(self.keypoint_weights) != skeleton.num_keypoints:
            raise SettingError(
                f"Heatmap keypoint_weights are {len(self.keypoint_weights)} numbers; {skeleton.name} has "
                f"{skeleton.num_keypoints} keypoints. Give one for each keypoint, or none."
            )
        return np.array(self.keypoint_weights, dtype=np.float32)

    def _mirrored_back(self, maps: np.ndarray, skeleton: Skeleton) -> np.ndarray:
        """Return the maps of a mirrored input as those of the input itself: left and right swapped, x turned."""
        triples = maps.reshape(skeleton.num_keypoints, -1, *maps.shape[1:])
        back = triples[skeleton.mirror_indices, :, :, ::-1]  # a copy, through the indices
        if self.encoding == "udp_combined":
            back[:, 1] *= -1  # x offsets
        if self.shift_mirrored and not self.udp:
            back = np.concatenate([back[..., :1], back[..., :-1]], axis=-1)
        return back.reshape(maps.shape)

    def _resized(self, maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return maps on a (w, h) grid: first cells stay first, and UDP's last ones last; bilinear."""
        height, width = maps.shape[1:]
        source = np.array([width, height], dtype=np.float64) - self.udp
        factors = source / np.maximum(np.array(size) - self.udp, 1)
        matrix = np.diag([*factors, 1.0])[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.stack(
            [cv2.warpAffine(one, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for one in maps]
        )
