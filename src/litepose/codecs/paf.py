"""Part affinity fields: heatmaps say where keypoints are, a field of unit vectors for each limb which belong together.

Sources: Cao et al. 2017 (fields); Osokin 2018, Daniil-Osokin/lightweight-human-pose-estimation.pytorch@d23c284, whose
targets `encode` draws and whose people the mode "exact" finds, without ever enlarging a whole map. Beyond it: mirrored
passes, any skeleton with limbs, and the mode "fast", which does not leave one person in pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from litepose.codecs.base import Found, MapLayers, Pass, check_outputs
from litepose.codecs.paf_limbs import limbs_of
from litepose.codecs.paf_maps import (
    PafMaps,
    Peaks,
    coarse_fields,
    coarse_peaks,
    enlarged_fields,
    enlarged_peaks,
    merge,
    mirror_order,
)
from litepose.codecs.paf_people import assemble, assemble_merging, connect
from litepose.codecs.paf_targets import PafTargets, draw_targets
from litepose.errors import SettingError, nearest_name
from litepose.geometry import check_input_size
from litepose.poses import Poses, Sample, concatenate
from litepose.skeleton import Skeleton

MODES = ("exact", "fast")
COARSE_DISTANCE = 1.5  # cells between two peaks of one keypoint in "fast" decoding
# Where "fast" reads a field, cells right of and below a keypoint's place on the heatmaps. A field's cell stands for its
# first pixel, 7/16 further, but the far ends of drawn limbs lack up to a cell; in between most people are found.
FIELD_OFFSET = 0.2


@dataclass(frozen=True)
class PafCodec:
    """Settings of part affinity fields; the defaults are Lightweight OpenPose's.

    mode: "exact" = the reference's people; "fast" = at network resolution, parts of a person merged (see `decode`).
    output_stride: input px per map cell.
    sigma_px: of the gaussians, input px. limb_reach: cells to each side of a limb that its field covers.
    upsample: "exact" decodes maps enlarged so many times: 4 is the reference's demo, 8 its evaluation.
    detection_threshold: heat from which a peak is a candidate.
    peak_distance: nearer peaks of one keypoint are one, cells of the enlarged maps; "exact" only.
    limb_samples: places at which a field is looked at between two peaks. sample_threshold: of the field along the limb,
        above which a place counts. sample_share: more than this share of them must count.
    min_keypoints, min_score: people with fewer keypoints, or less score for each of them, are left out.
    """

    name: ClassVar[str] = "paf"

    mode: str = "exact"
    output_stride: int = 8
    sigma_px: float = 7.0
    limb_reach: float = 1.0
    upsample: int = 4
    detection_threshold: float = 0.1
    peak_distance: float = 6.0
    limb_samples: int = 10
    sample_threshold: float = 0.05
    sample_share: float = 0.8
    min_keypoints: int = 3
    min_score: float = 0.2

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingError(f"No decoding mode {self.mode!r}. {nearest_name(self.mode, MODES)}")
        for setting, lowest in (("output_stride", 1), ("upsample", 1), ("limb_samples", 2), ("min_keypoints", 1)):
            if getattr(self, setting) < lowest:
                raise SettingError(f"PAF {setting} {getattr(self, setting)}: give {lowest} or more.")
        for setting in ("sigma_px", "limb_reach", "detection_threshold"):
            if not getattr(self, setting) > 0:
                raise SettingError(f"PAF {setting} {getattr(self, setting)}: it must be positive.")
        if not 0 <= self.sample_share < 1:
            raise SettingError(
                f"PAF sample_share {self.sample_share}: more than this share of the samples must count, so give 0 or "
                "more and less than 1."
            )

    def num_limbs(self, skeleton: Skeleton) -> int:
        """Return how many limbs have a field."""
        return len(limbs_of(skeleton))

    def channels(self, skeleton: Skeleton) -> tuple[int, ...]:
        """Return how many channels each network output needs: heatmaps with the background, fields."""
        return skeleton.num_keypoints + 1, 2 * len(limbs_of(skeleton))

    def channel_names(self, skeleton: Skeleton) -> tuple[tuple[str, ...], ...]:
        """Return what each channel of each network output means; a name means the same on every skeleton."""
        names = skeleton.keypoints
        fields = (f"{axis} field from {names[a]} to {names[b]}" for a, b in limbs_of(skeleton).ends for axis in "xy")
        return (*(f"heatmap of {name}" for name in names), "background"), tuple(fields)

    def strides(self) -> tuple[int, ...]:
        """Return input px per map cell of each network output."""
        return self.output_stride, self.output_stride

    def encode(self, sample: Sample, input_size: tuple[int, int]) -> PafTargets:
        """Return the training targets of one sample, see `paf_targets`.

        sample: in the frame of the network input, (w, h). Raises InputSizeError, SkeletonError.
        """
        check_input_size(input_size, self.output_stride, name=f"A map of stride {self.output_stride}")
        size = input_size[0] // self.output_stride, input_size[1] // self.output_stride
        return draw_targets(
            sample, limbs_of(sample.skeleton), size=size, stride=self.output_stride, sigma_px=self.sigma_px,
            limb_reach=self.limb_reach,
        )  # fmt: skip

    def plan(self, sample: Sample, input_size: tuple[int, int]) -> PafTargets:
        """Return the targets themselves: coarse maps, drawn in a few ms."""
        return self.encode(sample, input_size)

    def aggregate(self, passes: Sequence[Pass], size: tuple[int, int], skeleton: Skeleton) -> PafMaps:
        """Merge forward passes over one picture: plain, mirrored, at several scales; all are averaged.

        size: (w, h) of the input at scale 1. Raises ModelError where outputs do not fit.
        """
        wanted = self.channels(skeleton)
        for one in passes:
            check_outputs(one.outputs, wanted)
        cells = size[0] // self.output_stride, size[1] // self.output_stride
        return merge(
            passes, size=size, grid=(cells[0] * self.upsample, cells[1] * self.upsample), upsample=self.upsample,
            mirror=mirror_order(skeleton.mirror_indices, limbs_of(skeleton).ends), whole=self.mode == "exact",
        )  # fmt: skip

    def decode(self, maps: PafMaps, skeleton: Skeleton) -> Poses:
        """Return the people in the order of their founding, in px of the network input at scale 1.

        keypoint_scores are heats. A person's score is the sum of heats and limbs times one less than the number of
        keypoints, as the reference ranks people for COCO.
        "exact" gives the reference's people: peaks are whole cells of the enlarged maps, half a px too far right and
        down as in its evaluation, and who lacks a limb comes in pieces. "fast" differs: peaks are those of the maps as
        they are, moved to the top of the gaussian through their neighbours; fields are read between cells; no peak
        belongs to two people, and parts connected by a limb are one person.
        Raises ModelError where maps are not finite.
        """
        peaks, entries = self.match(maps, skeleton)
        numbers = entries[:, :-2].astype(np.int64)
        found = numbers >= 0
        cell = np.divide(maps.size, maps.grid)
        at = (peaks.xy + 0.5) * cell - (0.5 if self.mode == "fast" else 0)
        if not len(peaks):
            return Poses.empty(skeleton)
        keypoints = np.where(found[..., None], at[numbers], 0)
        scores = entries[:, -2] * np.maximum(0, entries[:, -1] - 1)
        return Poses(skeleton, keypoints, np.where(found, peaks.heats[numbers], 0), scores)

    def match(self, maps: PafMaps, skeleton: Skeleton) -> tuple[Peaks, np.ndarray]:
        """Return all peaks, and who is made of them: (N, K + 2) float64: peak of each keypoint or -1, score, count."""
        limbs, num_keypoints = limbs_of(skeleton), skeleton.num_keypoints
        if self.mode == "fast":
            peaks = coarse_peaks(maps, above=self.detection_threshold, distance=COARSE_DISTANCE)
            fields = coarse_fields(maps, FIELD_OFFSET)
        else:
            peaks = enlarged_peaks(maps, above=self.detection_threshold, distance=self.peak_distance)
            fields = enlarged_fields(maps)
        connections = connect(
            peaks, limbs, num_keypoints, fields,
            samples=self.limb_samples, above=self.sample_threshold, share=self.sample_share,
        )  # fmt: skip
        put_together = assemble_merging if self.mode == "fast" else assemble
        entries = put_together(connections, peaks.heats, limbs, num_keypoints)
        enough = (entries[:, -1] >= self.min_keypoints) & (entries[:, -2] / entries[:, -1] >= self.min_score)
        return peaks, entries[enough]

    def layers(self, maps: PafMaps, skeleton: Skeleton) -> MapLayers:
        """Return the heatmaps; the fields are not among what is shown."""
        return MapLayers(maps.heatmaps)

    def join(self, found: Sequence[Found], skeleton: Skeleton) -> Poses:
        """Return everybody: the whole picture is one frame, in which nobody is found twice."""
        return concatenate([one.poses for one in found]) if found else Poses.empty(skeleton)
