"""Which sample is drawn when, and that nothing but (seed, number) decides it."""

from __future__ import annotations

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from tiny_recipe import tiny_recipe

torch = pytest.importorskip("torch")

from litepose.codecs.ae import AECodec  # noqa: E402
from litepose.predictor import normalise  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402
from litepose.spec import InputSpec  # noqa: E402
from litepose.training.data import (  # noqa: E402
    BLOCK,
    Batch,
    DrawPlan,
    TrainingSamples,
    batches,
    steps_per_epoch,
    whole_shares,
)
from litepose.training.sources import open_sources  # noqa: E402

WHOLE = InputSpec(size=(64, 64))  # a network that looks at the whole picture


def samples(**options) -> TrainingSamples:
    sources, weights = open_sources(tiny_recipe(), WHOLE)
    settings = {"size_at": lambda share: (64, 64), "samples_per_step": 2, "total": 12, "seed": 7, **options}
    return TrainingSamples(sources, weights, codec=AECodec(), **settings)


def as_arrays(batch: Batch) -> list[np.ndarray]:
    targets = batch.drawn_targets()
    return [tensor.numpy() for tensor in (batch.images, *targets.heatmaps, *targets.masks, targets.tag_indices)]


def assert_same(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for left, right in zip(as_arrays(a), as_arrays(b), strict=True):
            np.testing.assert_array_equal(left, right)


def test_every_sample_comes_once_before_any_comes_again():
    plan = DrawPlan([7, 5], [2, 1], seed=3)
    seen: dict[int, list[int]] = {0: [], 1: []}
    for n in range(2 * BLOCK):
        source, index = plan(n)
        seen[source].append(index)
    for source, length in ((0, 7), (1, 5)):
        laps = [sorted(seen[source][i : i + length]) for i in range(0, len(seen[source]) - length, length)]
        assert all(lap == list(range(length)) for lap in laps)


def test_each_block_holds_the_exact_shares():
    plan = DrawPlan([10, 10, 10], [0.5, 0.3, 0.2], seed=0)
    for block in range(2):
        counts = Counter(plan(n)[0] for n in range(block * BLOCK, (block + 1) * BLOCK))
        assert counts == {0: 500, 1: 300, 2: 200}


def test_a_draw_depends_on_its_number_and_the_seed_only():
    forwards = DrawPlan([50, 9], [1, 1], seed=5)
    expected = [forwards(n) for n in range(3 * BLOCK)]
    fresh = DrawPlan([50, 9], [1, 1], seed=5)
    order = np.random.default_rng(0).permutation(3 * BLOCK)[:300]
    assert all(fresh(int(n)) == expected[n] for n in order)
    other = DrawPlan([50, 9], [1, 1], seed=6)
    assert [other(n) for n in range(BLOCK)] != expected[:BLOCK]


@pytest.mark.parametrize(
    ("weights", "expected"), [([1], (1000,)), ([1, 1, 1], (334, 333, 333)), ([1e-9, 1], (1, 999)), ([3, 1], (750, 250))]
)
def test_shares_are_whole_numbers_that_fill_the_block(weights, expected):
    assert whole_shares(weights, 1000) == expected


def test_batches_are_the_same_with_any_number_of_workers():
    alone = list(batches(samples(), first_step=0, last_step=4, batch=2, workers=0))
    sources, weights = open_sources(tiny_recipe(), WHOLE)
    shared = TrainingSamples(
        sources, weights, codec=AECodec(), size_at=tiny_recipe().size_at, samples_per_step=2, total=12, seed=7
    )
    assert_same(alone, list(batches(shared, first_step=0, last_step=4, batch=2, workers=2)))


def test_points_are_drawn_to_the_targets_that_loader_processes_draw():
    (drawn,) = batches(samples(targets="worker"), first_step=2, last_step=3, batch=4, workers=0)
    (planned,) = batches(samples(targets="device"), first_step=2, last_step=3, batch=4, workers=1)
    assert torch.equal(drawn.images, planned.images)
    wanted, found = drawn.drawn_targets(), planned.drawn_targets()
    assert torch.equal(wanted.tag_indices, found.tag_indices)
    for a, b in zip((*wanted.heatmaps, *wanted.masks), (*found.heatmaps, *found.masks), strict=True):
        torch.testing.assert_close(b, a, atol=1e-6, rtol=0)  # see test_training_points.py


def test_batches_from_a_later_step_are_those_of_the_whole_run():
    whole = list(batches(samples(), first_step=0, last_step=5, batch=2, workers=0))
    assert_same(whole[3:], list(batches(samples(), first_step=3, last_step=5, batch=2, workers=0)))


def test_a_run_of_any_length_begins_at_once():
    endless = samples(total=2 * 10**12)
    first = next(batches(endless, first_step=0, last_step=10**12, batch=2, workers=0))
    assert_same([first], list(batches(endless, first_step=0, last_step=1, batch=2, workers=0)))


def test_two_ranks_share_the_samples_of_a_step():
    whole = list(batches(samples(), first_step=0, last_step=2, batch=2, workers=0))
    parts = [list(batches(samples(), first_step=0, last_step=2, batch=1, workers=0, rank=r, world=2)) for r in (0, 1)]
    for step in range(2):
        together = torch.cat([parts[0][step].images, parts[1][step].images])
        assert torch.equal(together, whole[step].images)


def test_the_same_picture_is_varied_anew_at_each_draw():
    recipe = tiny_recipe(data={"train": [{"source": "synthetic:people=1,seed=1,size=64,length=1", "weight": 1}]})
    sources, weights = open_sources(recipe, WHOLE)
    drawn = TrainingSamples(
        sources, weights, codec=AECodec(), size_at=recipe.size_at, samples_per_step=1, total=4, seed=0
    )
    pictures = [drawn[n][0] for n in range(4)]
    assert all(not np.array_equal(pictures[0], other) for other in pictures[1:])


def test_no_two_draws_of_several_loader_processes_are_varied_alike():
    """numpy's global seed, which forked processes share, decides nothing (as it does in the reference's loader)."""
    recipe = tiny_recipe(data={"train": [{"source": "synthetic:people=1,seed=1,size=64,length=1", "weight": 1}]})
    sources, weights = open_sources(recipe, WHOLE)
    drawn = TrainingSamples(
        sources, weights, codec=AECodec(), size_at=recipe.size_at, samples_per_step=4, total=96, seed=0
    )
    pictures = [
        image.numpy().tobytes()
        for batch in batches(drawn, first_step=0, last_step=24, batch=4, workers=2)
        for image in batch.images
    ]
    assert len(set(pictures)) == len(pictures) == 96


def test_the_size_follows_the_share_of_the_run():
    growing = samples(size_at=lambda share: (64, 64) if share < 0.5 else (96, 64))
    sizes = [batch.images.shape[1:3] for batch in batches(growing, first_step=0, last_step=6, batch=2, workers=0)]
    assert sizes == [(64, 64)] * 3 + [(64, 96)] * 3


def test_loading_draws_nothing_from_the_global_random_state():
    before = torch.get_rng_state()
    list(batches(samples(), first_step=0, last_step=1, batch=2, workers=0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_pictures_are_normalised_as_in_inference(colour):
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3), dtype=np.uint8)
    rule = InputSpec(size=(12, 8), colour=colour)
    tensor = Batch(torch.from_numpy(image), None).normalised(rule)
    # float32: (x - 255 m) / 255 s against (x / 255 - m) / s, values up to 2.6
    np.testing.assert_allclose(tensor[0].numpy(), normalise(image[0], rule), atol=1e-5)


def test_an_epoch_is_what_the_recipe_says_or_what_the_sources_hold():
    sources, _ = open_sources(tiny_recipe(), WHOLE)
    assert steps_per_epoch(100, sources, 16) == 7
    assert steps_per_epoch(0, sources, 16) == 3  # 40 samples


def test_pictures_without_people_can_be_left_out_of_a_json_file(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abc":
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((32, 32, 3), np.uint8))
    person = {"category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
    annotations = [
        {**person, "id": 1, "image_id": 1, "keypoints": [5, 5, 2] * 17, "num_keypoints": 17},
        {**person, "id": 2, "image_id": 3, "keypoints": [0, 0, 0] * 17, "num_keypoints": 0},
    ]
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}
    pictures = [{"id": i, "file_name": f"{name}.png", "width": 32, "height": 32} for i, name in enumerate("abc", 1)]
    file = {"images": pictures, "annotations": annotations, "categories": [category]}
    (tmp_path / "train.json").write_text(json.dumps(file))
    for skeleton in ("coco17", "crowdpose14"):
        entry = {"source": "train.json", "weight": 1, "annotated_only": True}
        recipe = tiny_recipe(data={"root": str(tmp_path), "train": [entry]}, model={"skeleton": skeleton})
        (source,), _ = open_sources(recipe, WHOLE)
        assert list(source.dataset.ids) == [1, 3]  # 3 shows a person without keypoints, as the authors keep it
        sample = source.draw(0, (64, 64), np.random.default_rng(0))
        assert (sample.id, sample.skeleton.name, len(sample)) == (1, skeleton, 1)
