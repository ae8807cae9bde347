"""Networks of part affinity fields and of tags at both scales, beyond the numbers of their references."""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints, models  # noqa: E402
from litepose.codecs import PafCodec  # noqa: E402
from litepose.datasets import Remapped  # noqa: E402
from litepose.errors import ModelError, RecipeError, SettingError, SkeletonError  # noqa: E402
from litepose.geometry import Warp  # noqa: E402
from litepose.losses import AELoss, PafLoss  # noqa: E402
from litepose.metrics.truth import truth_from_coco  # noqa: E402
from litepose.models.litepose_dani import VARIANTS  # noqa: E402
from litepose.models.openpose import OpenPoseLight, first_stages  # noqa: E402
from litepose.poses import Poses, Sample  # noqa: E402
from litepose.predictor import Predictor  # noqa: E402
from litepose.skeleton import COCO17, CROWDPOSE14, OPENPOSE18, Skeleton  # noqa: E402
from litepose.training.data import collate  # noqa: E402
from litepose.training.recipe import load_recipe  # noqa: E402
from litepose.training.start import load_matching, make_spec  # noqa: E402
from litepose.training.validate import LiveRuntime, Validation  # noqa: E402

NECK = OPENPOSE18.index("neck")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def person(skeleton=OPENPOSE18, size=(64, 64)):
    keypoints = np.full((1, skeleton.num_keypoints, 3), 2.0, np.float32)
    keypoints[..., :2] = np.random.default_rng(0).uniform(8, 56, (1, skeleton.num_keypoints, 2))
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Sample(skeleton, image, keypoints, np.array([[8, 8, 56, 56.0]]), np.array([2304.0]), id=1)


def test_in_train_mode_every_stage_is_an_output_the_last_one_first():
    network = OpenPoseLight(2, num_keypoints=18)
    images = torch.randn(1, 3, 32, 40)
    network.eval()
    with torch.no_grad():
        stages = network.stages(images)
        network.training = True  # batch norms stay in eval mode
        outputs = network(images)
    assert len(outputs) == 6 and len(stages) == 3
    for output, wanted in zip(outputs, [maps for stage in reversed(stages) for maps in stage], strict=True):
        assert torch.equal(output, wanted)


def test_the_loss_sums_over_stages_and_masked_cells_cost_nothing():
    codec, sample = PafCodec(), person()
    batch = collate([(sample.image, codec.encode(sample, (64, 64)))] * 2)
    outputs = [torch.randn_like(batch.targets.heatmaps), torch.randn_like(batch.targets.pafs)]
    one, twice = PafLoss()(outputs, batch.targets), PafLoss()([*outputs, *outputs], batch.targets)
    assert set(twice) == {"heatmaps", "pafs", "heatmaps_before_1", "pafs_before_1", "total"}
    assert float(twice["total"]) == pytest.approx(2 * float(one["total"]))
    wanted = 0.5 * sum(
        float((a - b).square().sum())
        for a, b in zip(outputs, (batch.targets.heatmaps, batch.targets.pafs), strict=True)
    )
    assert float(one["total"]) == pytest.approx(wanted / 2, rel=1e-5)
    batch.targets.heatmap_mask.zero_()
    assert float(PafLoss(paf_factor=0.0)(outputs, batch.targets)["total"]) == 0
    with pytest.raises(SettingError, match="heatmap_factor -1"):
        PafLoss(heatmap_factor=-1.0)


def test_a_longer_training_gives_the_shorter_network_and_fills_the_longer_one(tmp_path):
    spec = checkpoints.default_spec("openpose_light_3", OPENPOSE18)
    longer = checkpoints.build_network(spec).eval()
    shorter = models.build("openpose_light_1", num_keypoints=18).eval()
    checkpoints.load_state(shorter, first_stages(longer.state_dict(), 1))
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(shorter(images)[0], longer.stages(images)[1][0])
    short_spec = checkpoints.default_spec("openpose_light_1", OPENPOSE18)
    path = checkpoints.save(tmp_path / "step2.safetensors", shorter.state_dict(), short_spec)
    fresh, unused = load_matching(checkpoints.build_network(spec), path, model="openpose_light_3")
    assert not unused and fresh and all(re.match(r"refinements\.[12]\.", name) for name in fresh)


def test_imagenet_weights_of_mobilenet_fill_the_trunk(tmp_path):
    own = models.build("openpose_light_1", num_keypoints=18)
    state = {}
    for name, tensor in own.trunk.state_dict().items():
        number, *part = name.split(".")
        places = {
            "conv": 0,
            "norm": 1,
            "depthwise.conv": 0,
            "depthwise.norm": 1,
            "pointwise.conv": 3,
            "pointwise.norm": 4,
        }
        place = places[".".join(part[:-1])]
        state[f"module.model.{number}.{place}.{part[-1]}"] = tensor
    torch.save({"state_dict": {**state, "module.fc.weight": torch.zeros(1000, 1024)}}, tmp_path / "mobilenet.pth.tar")
    other = models.build("openpose_light_1", num_keypoints=18)
    fresh, unused = load_matching(other, tmp_path / "mobilenet.pth.tar", model="openpose_light_1")
    assert unused == ["fc.weight"] and not any(name.startswith("trunk.") for name in fresh)
    assert torch.equal(other.trunk[3].pointwise.conv.weight, own.trunk[3].pointwise.conv.weight)


def test_a_custom_skeleton_has_as_many_fields_as_limbs():
    spec = checkpoints.default_spec("openpose_light_0", CROWDPOSE14)
    assert [output.channels for output in spec.outputs] == [15, 2 * len(CROWDPOSE14.limbs)]
    with pytest.warns(UserWarning, match="no OKS sigmas"), pytest.raises(SkeletonError, match="one keypoint"):
        checkpoints.default_spec("openpose_light_0", Skeleton("one", ("tip",)))


@pytest.mark.parametrize("settings", [{"num_refinement_stages": -1}, {"num_refinement_stages": 1.5}, {"num_limbs": 0}])
def test_impossible_networks_are_refused(settings):
    with pytest.raises(SettingError, match=next(iter(settings))):
        models.build("openpose_light_1", num_keypoints=18, **settings)


@pytest.mark.parametrize(
    ("picture", "size", "left"),
    [((1280, 720), (656, 368), 1), ((368, 368), (368, 368), 0), ((300, 600), (368, 368), 92)],
)
def test_a_picture_is_resized_to_the_height_and_padded_in_the_middle(picture, size, left):
    warp = Warp.openpose(picture, 368, stride=8)
    assert warp.size == size
    zoom = 368 / picture[1]
    np.testing.assert_allclose(warp.points(np.array([-0.5, -0.5])), [left - 0.5, -0.5], atol=1e-9)
    np.testing.assert_allclose(warp.zoom, zoom)


def test_what_lies_beside_the_picture_is_grey_for_the_network():
    spec = checkpoints.default_spec("openpose_light_0", OPENPOSE18)
    network = checkpoints.build_network(spec).eval()
    predictor = Predictor(LiveRuntime(network, spec, torch.device("cpu")), scales=(0.5, 1.0))
    image = np.full((600, 300, 3), 255, np.uint8)
    views = predictor.views((300, 600))
    assert [view.warp.size for view in views] == [(368, 368), (184, 184)]
    tensor = predictor.prepare(image, views[0])
    assert np.abs(tensor[..., :80]).max() == 0 and tensor[:, 100:200, 120:240].min() == pytest.approx(127 / 256)
    predictor(image)  # several scales are decoded together


class Onto:
    """One picture of COCO's keypoints."""

    name, skeleton, ids = "one", COCO17, (1,)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return person(COCO17)


def test_the_neck_made_of_coco_s_shoulders_is_not_scored(monkeypatch):
    pytest.importorskip("hotcoco")
    spec = checkpoints.default_spec("openpose_light_0", OPENPOSE18, size=(64, 64))
    validation = Validation(Remapped(Onto(), OPENPOSE18), spec, PafLoss())
    truth = Remapped(Onto(), OPENPOSE18)[0]
    assert truth.keypoints[0, NECK, 2] > 0
    keypoints = truth.keypoints[..., :2].copy()
    keypoints[0, NECK] = -500

    def batch(self, pictures, boxes):
        return [Poses(OPENPOSE18, keypoints, np.ones((1, 18)), np.ones(1))]

    monkeypatch.setattr(Predictor, "batch", batch)
    metrics = validation(checkpoints.build_network(spec))
    assert metrics["AP"] == pytest.approx(1) and np.isfinite(metrics["loss"])


def test_evaluation_on_a_coco_file_counts_coco_s_17_keypoints():
    record = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": person(COCO17).keypoints.ravel().tolist(),
              "num_keypoints": 17, "bbox": [8, 8, 48, 48], "area": 2304, "iscrowd": 0}  # fmt: skip
    content = {"images": [{"id": 1}], "annotations": [record],
               "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}]}  # fmt: skip
    (picture,) = truth_from_coco(content, OPENPOSE18).pictures
    visible = picture.keypoints[0, :, 2]
    assert visible[NECK] == 0 and (np.delete(visible, NECK) == 2).all()
    people = truth_from_coco(content, COCO17).pictures[0].keypoints
    np.testing.assert_array_equal(
        picture.keypoints[:, OPENPOSE18.index("left_knee")], people[:, COCO17.index("left_knee")]
    )


def test_a_few_steps_on_one_picture_lower_the_loss():
    recipe = load_recipe("openpose_light_1_coco", ["model.size=[64, 64]"])
    spec = make_spec(recipe)
    network = checkpoints.build_network(spec)
    sample = person()
    batch = collate([(sample.image, spec.codec.plan(sample, (64, 64)))])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = PafLoss()(network(batch.normalised(spec.input)), batch.drawn_targets())["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_a_codec_of_another_paradigm_is_refused():
    with pytest.raises(RecipeError, match=r"openpose_light_1 is a part-affinity network.*'paf'"):
        make_spec(load_recipe("openpose_light_1_coco", ["codec={name='ae'}"]))


def test_tags_are_learned_at_both_scales():
    spec = checkpoints.default_spec("litepose_dani_small", CROWDPOSE14)
    sample = person(CROWDPOSE14)
    batch = collate([(sample.image, spec.codec.plan(sample, (64, 64)))])
    targets = batch.drawn_targets()
    assert len(targets.more_tag_indices) == 1
    outputs = [torch.rand(1, 28, side, side, requires_grad=True) for side in (16, 32)]
    AELoss()(outputs, targets)["total"].backward()
    for output in outputs:
        assert output.grad[:, 14:].any()


def arch(**changes):
    return {**VARIANTS["litepose_dani"]["arch"], **changes}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (arch(img_size=250), "250"),
        (arch(stem=[32]), "stem"),
        (arch(stages=[[[16, 7]]] * 3), "4 entries"),
        (arch(stages=[[[16, 7]]] * 3 + [[]]), r"stages\[3\]"),
        (arch(stages=[[[16, 6]]] * 4), "odd"),
        (arch(stages=[[[16, 7, 2]]] * 4), r"stages\[0\]\[0\]"),
        (arch(deconvs=[[48, 4], [24, 4], [-1, 4]]), "positive whole numbers"),
        (arch(depth=3), "no field 'depth'"),
        ({"img_size": 256}, "lacks 'stem'"),
        (7, "object"),
    ],
)
def test_a_wrong_arch_is_answered_with_what_is_wrong(given, says):
    with pytest.raises(ModelError, match=says):
        models.build("litepose_dani", num_keypoints=14, arch=given)


def test_an_own_arch_builds_and_says_its_size():
    own = arch(img_size=192, stages=[[[16, 3]], [[24, 3]], [[32, 3]], [[48, 3], [48, 3]]])
    spec = checkpoints.default_spec("litepose_dani", CROWDPOSE14, arch=own)
    assert spec.input.size == (192, 192)
    with torch.no_grad():
        outputs = checkpoints.build_network(spec).eval()(torch.rand(1, 3, 64, 64))
    assert [tuple(output.shape) for output in outputs] == [(1, 28, 16, 16), (1, 28, 32, 32)]
    assert min(float(output.min()) for output in outputs) >= 0  # every branch ends in ReLU6
