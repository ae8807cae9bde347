"""Synthetic people: deterministic, complete, and their labels agree with what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from litepose.datasets.synthetic import SyntheticPeople, from_options
from litepose.errors import SettingError
from litepose.skeleton import COCO17, SKELETONS


def test_the_same_seed_and_index_give_the_same_scene() -> None:
    first, second = SyntheticPeople(seed=5)[3], SyntheticPeople(seed=5)[3]
    assert first.image.tobytes() == second.image.tobytes()
    assert first.keypoints.tobytes() == second.keypoints.tobytes()
    assert first.image.tobytes() != SyntheticPeople(seed=6)[3].image.tobytes()


def test_seen_keypoints_lie_on_the_persons_own_mask() -> None:
    people = SyntheticPeople(people=(3, 8), seed=1)
    seen = 0
    for i in range(8):
        sample = people[i]
        assert sample.person_masks is not None
        for keypoints, mask in zip(sample.keypoints, sample.person_masks, strict=True):
            x, y = np.floor(keypoints[keypoints[:, 2] == 2, :2].T + 0.5).astype(int)
            assert mask[y, x].all()
            seen += len(x)
    assert seen > 300


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_every_built_in_skeleton_is_labelled_completely(name: str) -> None:
    sample = SyntheticPeople(people=(4, 4), skeleton=SKELETONS[name], seed=2)[0]
    assert sample.labelled is None
    assert (sample.keypoints[..., 2] > 0).any(axis=0).all()


def test_options_are_read_and_unknown_ones_are_named() -> None:
    people = from_options("synthetic:people=2-4,seed=3,size=128x96,length=7", COCO17)
    assert (people.people, people.seed, people.size, len(people)) == ((2, 4), 3, (128, 96), 7)
    with pytest.raises(SettingError, match="Did you mean 'people'"):
        from_options("synthetic:peoples=3", COCO17)
    with pytest.raises(SettingError, match="people=0-12 or 4"):
        from_options("synthetic:people=many", COCO17)
