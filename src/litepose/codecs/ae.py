"""Associative embedding: one heatmap and one tag per keypoint; tags that agree make a person.

Sources: Newell et al. 2017 (tags); Cheng et al. 2020, HigherHRNet (two resolutions); mit-han-lab/litepose@00b702d,
whose numbers the mode "exact" reproduces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from litepose.codecs import ae_compiled
from litepose.codecs.ae_limbs import limbs_of, match_limbs, merge_normalised, unite
from litepose.codecs.ae_maps import (
    AEMaps,
    ChannelLayout,
    fill_in,
    fill_in_coarsely,
    find_candidates,
    merge_heatmaps,
    merge_tags,
    score_people,
    shift_to_subcell,
)
from litepose.codecs.ae_peaks import AEPeaks, only_pass
from litepose.codecs.ae_targets import AEPlan, AETargets, MapPlan, draw
from litepose.codecs.base import Found, MapLayers, Pass, check_outputs
from litepose.codecs.grouping import Candidates, group, keypoint_order
from litepose.codecs.maps import auto_sigma, box_sigmas, cells_of
from litepose.errors import SettingError, nearest_name
from litepose.geometry import check_input_size
from litepose.poses import Poses, Sample, concatenate
from litepose.similarity import box_areas, oks_nms
from litepose.skeleton import Skeleton

MODES = ("exact", "fast", "compiled")
GROUPINGS = ("people", "limbs")


@dataclass(frozen=True)
class AECodec:
    """Settings of associative embedding; the defaults are LitePose's.

    mode: "exact" = the reference's people, ties included; "fast" = at network resolution (see `decode`); "compiled" =
        the same as "fast", by machine code where numba is installed.
    output_strides: input px per map cell of each output, coarse to fine.
    heatmap_outputs, tag_outputs: which outputs carry heatmaps, and after them tags.
    tag_per_keypoint: False = all keypoints share one tag map.
    center_keypoint: one more channel, last, at the mean of a person's labelled keypoints.
    ignore_center: decode without that channel; else people are founded on it.
    sigma: of the gaussians, cells; below 0 = map side / 64.
    scale_aware_sigma: sigma = longer box side in input px / base_size * base_sigma instead (the reference measures
        the box before augmentation); whole_sigma rounds it up.
    max_people: people with targets for their tags; candidates per keypoint and people offered to them in decoding (no
        cap on the people found, as in the reference).
    detection_threshold: heat above which a peak is a candidate.
    tag_threshold: distance of tags below which a candidate joins a person.
    grouping: "people" = candidates join people by their tags; "limbs" = limb by limb, as DaniAffCH's LitePose does (see
        `ae_limbs`): its own numbers come out with detection_threshold 0.25, tag_threshold 0.1, nms_kernel 15.
    use_detection_val: match by rounded distance, then heat; else by distance.
    ignore_too_much: once max_people are found, match no further keypoints.
    nms_kernel: side of the square in which a peak is the maximum, cells.
    adjust: shift by a quarter cell towards the higher neighbour. refine: fill in missing keypoints.
    project: enlarge the maps to the input size before decoding.
    nms_threshold: of two people who are more alike than this (OKS of the keypoints that both have) the lower-scored one
        was found twice and is left out; 1 = nobody is, as in the reference.
    peaks: above 0, no maps come in but as many peaks of each keypoint, which an exported file found by itself: see
        `ae_peaks`. With "fast" and without refine alone.
    """

    name: ClassVar[str] = "ae"

    mode: str = "exact"
    output_strides: tuple[int, ...] = (4, 2)
    heatmap_outputs: tuple[bool, ...] = (True, True)
    tag_outputs: tuple[bool, ...] = (True, False)
    tag_per_keypoint: bool = True
    center_keypoint: bool = False
    ignore_center: bool = True
    sigma: float = 2.0
    scale_aware_sigma: bool = False
    base_size: float = 256.0
    base_sigma: float = 2.0
    whole_sigma: bool = False
    max_people: int = 30
    detection_threshold: float = 0.1
    tag_threshold: float = 1.0
    grouping: str = "people"
    use_detection_val: bool = True
    ignore_too_much: bool = False
    nms_kernel: int = 5
    adjust: bool = True
    refine: bool = True
    project: bool = True
    nms_threshold: float = 1.0
    peaks: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingError(f"No decoding mode {self.mode!r}. {nearest_name(self.mode, MODES)}")
        if self.peaks and (self.mode == "exact" or self.refine or self.grouping != "people" or self.center_keypoint):
            raise SettingError(
                f"This model file finds its {self.peaks} peaks by itself; asked was mode {self.mode!r}, refine "
                f"{self.refine}, grouping {self.grouping!r}. Decode it with fast, or export the model without --peaks."
            )
        if self.mode == "compiled":
            ae_compiled.check_installed()
        if self.grouping not in GROUPINGS:
            raise SettingError(f"No grouping {self.grouping!r}. {nearest_name(self.grouping, GROUPINGS)}")
        counts = {len(self.output_strides), len(self.heatmap_outputs), len(self.tag_outputs)}
        if len(counts) != 1 or min(self.output_strides, default=0) < 1:
            raise SettingError(
                f"AE outputs: strides {self.output_strides}, heatmaps {self.heatmap_outputs}, tags {self.tag_outputs}. "
                "Give one positive stride, one heatmap flag and one tag flag for each output."
            )
        if not any(self.heatmap_outputs) or not any(self.tag_outputs):
            raise SettingError(
                "AE needs at least one output with heatmaps and one with tags; a flag for one is missing."
            )
        if self.sigma == 0 or min(self.base_size, self.base_sigma) <= 0:
            raise SettingError(
                f"AE sigma {self.sigma}, base_size {self.base_size}, base_sigma {self.base_sigma}: all must be "
                "positive (a sigma below 0 means map side / 64)."
            )
        if self.detection_threshold < 0:
            raise SettingError(
                f"AE detection_threshold {self.detection_threshold}: peaks below 0 are noise. Give 0 or more, as 0.1."
            )
        if self.nms_threshold <= 0:
            raise SettingError(
                f"AE nms_threshold {self.nms_threshold}: everybody would be found twice. Give a part of 1, as 0.5, or "
                "1 to keep everybody."
            )
        if self.max_people < 1 or self.nms_kernel < 3 or self.nms_kernel % 2 == 0:
            raise SettingError(
                f"AE max_people {self.max_people}, nms_kernel {self.nms_kernel}: the first must be at least 1, the "
                "second odd and at least 3."
            )

    def channels(self, skeleton: Skeleton) -> tuple[int, ...]:
        """Return how many channels each network output needs."""
        if self.peaks:
            return (skeleton.num_keypoints,)
        heatmaps = skeleton.num_keypoints + self.center_keypoint
        tags = heatmaps if self.tag_per_keypoint else 1
        flags = zip(self.heatmap_outputs, self.tag_outputs, strict=True)
        return tuple(heatmaps * with_heatmaps + tags * with_tags for with_heatmaps, with_tags in flags)

    def channel_names(self, skeleton: Skeleton) -> tuple[tuple[str, ...], ...]:
        """Return what each channel of each network output means; a name means the same on every skeleton."""
        if self.peaks:
            return (tuple(f"peaks of {name}" for name in skeleton.keypoints),)
        center = ("heatmap at the centre",) if self.center_keypoint else ()
        heatmaps = (*(f"heatmap of {name}" for name in skeleton.keypoints), *center)
        tags = tuple(f"tag at {name}" for name in heatmaps) if self.tag_per_keypoint else ("tag",)
        flags = zip(self.heatmap_outputs, self.tag_outputs, strict=True)
        return tuple(heatmaps * with_heatmaps + tags * with_tags for with_heatmaps, with_tags in flags)

    def strides(self) -> tuple[int, ...]:
        """Return input px per map cell of each network output; 0 = no map."""
        return (0,) if self.peaks else self.output_strides

    def encode(self, sample: Sample, input_size: tuple[int, int]) -> AETargets:
        """Return the training targets of one sample; see `plan`."""
        return draw(self.plan(sample, input_size))

    def plan(self, sample: Sample, input_size: tuple[int, int]) -> AEPlan:
        """Return what the training targets of one sample are drawn from.

        sample: in the frame of the network input. input_size: (w, h).
        Everybody is drawn into the heatmaps. Of more than max_people people with a keypoint in sight the largest get
        tags (the reference fails there); the others' heatmaps count all the same. A keypoint of weight 0 gets neither
        heat nor tag but a hole in its mask; an unknown keypoint's whole channel is masked.
        Raises InputSizeError where the size is no multiple of a stride.
        """
        keypoints = self._with_center(np.asarray(sample.keypoints, dtype=np.float64))
        labelled = keypoints[..., 2] > 0
        learned = labelled.copy()
        if sample.keypoint_weights is not None:
            learned[:, : sample.keypoint_weights.shape[1]] &= sample.keypoint_weights > 0
        known = None
        if sample.labelled is not None and not sample.labelled.all():
            known = np.append(sample.labelled, [True] * self.center_keypoint).astype(bool)

        maps, tag_indices = [], []
        for stride, with_heatmaps, with_tags in zip(
            self.output_strides, self.heatmap_outputs, self.tag_outputs, strict=True
        ):
            size = map_size(input_size, stride)
            cells, inside = cells_of(keypoints[..., :2] / stride, size)
            here = learned & inside
            sigmas, ignore = self._sigmas(sample, size), _ignored_cells(sample, stride, size)
            maps.append(MapPlan(size, with_heatmaps, cells, sigmas, here, labelled & ~learned & inside, ignore, known))
            if with_tags:
                tag_indices.append(self._tag_indices(cells, here, size, sample.areas))
        return AEPlan(tuple(maps), tag_indices[0], tuple(tag_indices[1:]))

    def aggregate(self, passes: Sequence[Pass], size: tuple[int, int], skeleton: Skeleton) -> AEMaps | AEPeaks:
        """Merge forward passes over one picture: plain, mirrored, at several scales.

        Heatmaps are averaged over outputs, mirrored passes and scales; tags come from the scale nearest 1, mirrored
        ones as further tag dimensions. "fast" leaves the maps at the network's resolution.
        size: (w, h) of the input at scale 1. Raises ModelError where outputs do not fit.
        """
        wanted = self.channels(skeleton)
        for one in passes:
            check_outputs(one.outputs, wanted)
        if self.peaks:
            return only_pass(passes)
        num_keypoints = skeleton.num_keypoints + self.center_keypoint
        layout = ChannelLayout(num_keypoints, self.heatmap_outputs, self.tag_outputs, self.tag_per_keypoint)
        mirror = None
        if any(one.mirrored for one in passes):
            mirror = np.append(skeleton.mirror_indices, [skeleton.num_keypoints] * self.center_keypoint).astype(
                np.int64
            )
        if self.grouping == "limbs":
            return merge_normalised(passes, layout, mirror, size)
        if self.mode == "compiled" and not self.center_keypoint:
            merged = ae_compiled.merged(passes, layout, size)
            if merged is not None:
                return merged
        project = self.project and self.mode == "exact"
        heatmaps = merge_heatmaps(passes, layout, mirror, size if project else None)
        tags, step = merge_tags(passes, layout, mirror)
        if self.center_keypoint and self.ignore_center:
            heatmaps = heatmaps[: skeleton.num_keypoints]
        return AEMaps(heatmaps, tags, size, step if self.mode == "exact" else None)

    def decode(self, maps: AEMaps | AEPeaks, skeleton: Skeleton) -> Poses:
        """Return the people in the order of their founding, in px of the network input at scale 1.

        keypoint_scores are heats. A person's score is the mean heat over all keypoints before `refine`, as in the
        reference. "exact" gives the reference's people. "fast" differs where the maps do: peaks are those of the
        averaged maps at network resolution (up to half a cell away from those of the enlarged ones), tags are read
        from the coarse map, and `refine` looks at one heatmap cell in each of its cells. "compiled" is "fast".
        Raises ModelError where maps are not finite.
        """
        people = self._people(maps, skeleton)
        if self.nms_threshold >= 1 or len(people) < 2:
            return people
        kept = oks_nms(
            people.keypoints, people.scores, areas=box_areas(people.keypoint_boxes), sigmas=skeleton.oks_sigmas,
            threshold=self.nms_threshold, found=people.found,
        )  # fmt: skip
        return people[np.sort(kept)]

    def _people(self, maps: AEMaps | AEPeaks, skeleton: Skeleton) -> Poses:
        """Return everybody, whoever was found twice with them."""
        if isinstance(maps, AEPeaks):
            people = self._grouped(maps.candidates(self.detection_threshold), skeleton.num_keypoints)
            places = people[..., :2] * np.float32(min(self.output_strides))
            return Poses(skeleton, places, people[..., 2], score_people(people))
        if self.grouping == "limbs":
            return self._decode_limbs(maps, skeleton)
        done = None
        people = self.match(maps)[:, : skeleton.num_keypoints]
        found = people[..., 2] > 0
        if self.center_keypoint and not self.ignore_center:
            some = found.any(axis=1)  # nobody consists of a centre alone
            people, found = people[some], found[some]
        if self.mode == "compiled":
            done = ae_compiled.finished(maps, people, refine=self.refine, adjust=self.adjust)
        keypoints, heats, scores = done or self._finished(maps, people, found)
        cell = np.divide(maps.size, maps.map_size, dtype=np.float32)
        return Poses(skeleton, keypoints * cell, heats, scores)

    def _finished(self, maps: AEMaps, people: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return keypoints (N, K, 2) in cells, heats (N, K) and scores (N,) of people as grouped."""
        scores = score_people(people)
        shifted = found if self.adjust else np.zeros_like(found)
        if self.refine and not found.all():
            people = fill_in(maps, people) if self.mode == "exact" else fill_in_coarsely(maps, people)
            shifted = shifted | (~found & (people[..., 2] > 0))
        shift_to_subcell(maps.heatmaps, people, shifted)
        return people[..., :2], people[..., 2], scores

    def layers(self, maps: AEMaps | AEPeaks, skeleton: Skeleton) -> MapLayers:
        """Return heatmaps, and the tags of the plain passes at their size. Raises SettingError where there are none."""
        if isinstance(maps, AEPeaks):
            raise SettingError(
                "This model file finds peaks by itself and gives no heatmaps to show. Show those of the same model "
                "exported without --peaks."
            )
        tags = [maps.tag_map(keypoint)[0] for keypoint in range(skeleton.num_keypoints)]
        return MapLayers(maps.heatmaps[: skeleton.num_keypoints], np.stack(tags))

    def _decode_limbs(self, maps: AEMaps, skeleton: Skeleton) -> Poses:
        """Return the people that connected limbs make; both modes are the same here."""
        candidates, edges = self.match_limbs(maps, skeleton)
        people = unite(candidates, edges, skeleton.num_keypoints)
        found = people >= 0
        if not len(people):
            return Poses.empty(skeleton)
        keypoints = np.where(found[..., None], candidates.cells[people], 0)
        heats = np.where(found, candidates.scores[people], 0)
        return Poses(skeleton, keypoints, heats, heats.mean(axis=1))

    def match_limbs(self, maps: AEMaps, skeleton: Skeleton) -> tuple[Candidates, np.ndarray]:
        """Return all candidates, and the limbs found among them: (E, 3) int64: limb, one candidate, the other."""
        above = float(np.nextafter(np.float32(self.detection_threshold), np.float32(0)))  # the threshold itself counts
        found = find_candidates(maps, kernel=self.nms_kernel, most=self.max_people, above=above)
        here = found.keypoints < skeleton.num_keypoints  # not the centre
        candidates = Candidates(*(getattr(found, field)[here] for field in ("keypoints", "cells", "scores", "tags")))
        return candidates, match_limbs(candidates, limbs_of(skeleton), self.tag_threshold)

    def join(self, found: Sequence[Found], skeleton: Skeleton) -> Poses:
        """Return everybody: the whole picture is one frame."""
        return concatenate([one.poses for one in found]) if found else Poses.empty(skeleton)

    def match(self, maps: AEMaps) -> np.ndarray:
        """Return the people as grouped: (N, K, 3 + T) float32 x, y in cells, heat, tags; zeros = missing."""
        num_keypoints, people = len(maps.heatmaps), None
        if self.mode == "compiled" and self.use_detection_val and not self.ignore_too_much:
            people = ae_compiled.match(
                maps, self._order(num_keypoints), kernel=self.nms_kernel, above=self.detection_threshold,
                max_people=self.max_people, tag_threshold=self.tag_threshold,
            )  # fmt: skip
        return self._grouped(self.candidates(maps), num_keypoints) if people is None else people

    def _order(self, num_keypoints: int) -> tuple[int, ...]:
        if self.center_keypoint and not self.ignore_center:
            return (num_keypoints - 1, *keypoint_order(num_keypoints - 1))
        return keypoint_order(num_keypoints)

    def _grouped(self, candidates: Candidates, num_keypoints: int) -> np.ndarray:
        return group(
            candidates,
            num_keypoints,
            order=self._order(num_keypoints),
            max_people=self.max_people,
            tag_threshold=self.tag_threshold,
            use_detection_val=self.use_detection_val,
            ignore_too_much=self.ignore_too_much,
        )

    def candidates(self, maps: AEMaps) -> Candidates:
        """Return the peaks that may become keypoints. Raises ModelError where maps are not finite."""
        return find_candidates(maps, kernel=self.nms_kernel, most=self.max_people, above=self.detection_threshold)

    def _with_center(self, keypoints: np.ndarray) -> np.ndarray:
        """Append the mean of each person's labelled keypoints where the codec has one: (N, K, 3) -> (N, K + 1, 3)."""
        if not self.center_keypoint:
            return keypoints
        labelled = keypoints[..., 2:] > 0
        count = labelled.sum(axis=1)
        center = (keypoints[..., :2] * labelled).sum(axis=1) / np.maximum(count, 1)
        return np.concatenate([keypoints, np.concatenate([center, count > 0], axis=-1)[:, None]], axis=1)

    def _sigmas(self, sample: Sample, size: tuple[int, int]) -> np.ndarray:
        if self.scale_aware_sigma:
            return box_sigmas(
                sample.boxes, base_size=self.base_size, base_sigma=self.base_sigma, whole=self.whole_sigma
            )
        return np.full(len(sample.keypoints), self.sigma if self.sigma > 0 else auto_sigma(size))

    def _tag_indices(
        self, cells: np.ndarray, present: np.ndarray, size: tuple[int, int], areas: np.ndarray
    ) -> np.ndarray:
        num_keypoints = present.shape[1]
        indices = np.zeros((self.max_people, num_keypoints, 2), dtype=np.int32)
        flat = cells[..., 1] * size[0] + cells[..., 0]
        if self.tag_per_keypoint:
            flat = flat + np.arange(num_keypoints) * (size[0] * size[1])
        people = np.arange(len(present))
        if len(people) > self.max_people:
            people = people[present.any(axis=1)]
            largest = np.argsort(-np.asarray(areas)[people], kind="stable")[: self.max_people]
            people = people[np.sort(largest)]
        for row, person in enumerate(people.tolist()):
            visible = flat[person, present[person]]
            indices[row, : len(visible), 0] = visible
            indices[row, : len(visible), 1] = 1
        return indices


def map_size(input_size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return (w, h) in cells of the map of an input of (w, h) px. Raises InputSizeError."""
    check_input_size(input_size, stride, name=f"A map of stride {stride}")
    return input_size[0] // stride, input_size[1] // stride


def _ignored_cells(sample: Sample, stride: int, size: tuple[int, int]) -> np.ndarray | None:
    """Return the sample's ignored area in cells, (h, w) bool, or None."""
    if sample.ignore is None:
        return None
    # The reference samples its mask where the map's cells fall in the picture: at stride * cell.
    ignore = sample.ignore[::stride, ::stride]
    assert ignore.shape == size[::-1], (sample.ignore.shape, size, stride)
    return ignore
