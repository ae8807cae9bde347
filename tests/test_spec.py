"""The pose spec: what a model file says about itself."""

import dataclasses
import json

import pytest

from litepose.codecs import AECodec, HeatmapCodec, codec_from_json, codec_to_json
from litepose.errors import SpecError
from litepose.skeleton import COCO17, CROWDPOSE14, Skeleton
from litepose.spec import SPEC_VERSION, InputSpec, OutputSpec, PoseSpec


def spec_for(skeleton: Skeleton = COCO17, **changes: object) -> PoseSpec:
    codec = AECodec()
    outputs = tuple(
        OutputSpec(f"maps_{i}", stride, channels)
        for i, (stride, channels) in enumerate(zip(codec.strides(), codec.channels(skeleton), strict=True))
    )
    spec = PoseSpec("litepose_xs", skeleton, codec, InputSpec((256, 256)), outputs, provenance={"data": ["coco"]})
    return dataclasses.replace(spec, **changes)


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14], ids=lambda skeleton: skeleton.name)
def test_a_spec_survives_json_with_everything_in_it(skeleton):
    spec = spec_for(skeleton)
    assert PoseSpec.from_json(spec.to_json()) == spec


def test_a_custom_skeleton_travels_with_the_spec():
    dog = Skeleton("dog", ("nose", "tail"), limbs=(("nose", "tail"),), oks_sigmas=(0.1, 0.2))
    assert PoseSpec.from_json(spec_for(dog).to_json()).skeleton == dog


def test_provenance_grows_without_changing_the_old_spec():
    spec = spec_for()
    assert spec.with_provenance(licence="MIT").provenance == {"data": ["coco"], "licence": "MIT"}
    assert spec.provenance == {"data": ["coco"]}


def test_outputs_that_do_not_fit_skeleton_and_codec_are_explained():
    with pytest.raises(SpecError, match=r"codec 'ae' on crowdpose14 needs outputs with .* do not belong together"):
        spec_for(skeleton=CROWDPOSE14, outputs=spec_for(COCO17).outputs)


def crop_spec(codec: HeatmapCodec, resize: str) -> PoseSpec:
    outputs = (OutputSpec("maps", 4, codec.channels(COCO17)[0]),)
    return PoseSpec("litehrnet_18", COCO17, codec, InputSpec((192, 256), resize=resize), outputs)


@pytest.mark.parametrize(
    ("codec", "resize"),
    [
        (HeatmapCodec(), "box"),
        (HeatmapCodec(encoding="dark", refinement="dark"), "box"),
        (HeatmapCodec(encoding="udp", refinement="udp"), "box_udp"),
        (HeatmapCodec(encoding="udp_combined", refinement="udp_combined"), "box_udp"),
    ],
)
def test_crops_are_cut_as_the_encoding_reads_them(codec, resize):
    spec = crop_spec(codec, resize)
    assert PoseSpec.from_json(spec.to_json()) == spec
    other = {"box": "box_udp", "box_udp": "box"}[resize]
    with pytest.raises(SpecError, match=f"cut by '{other}'.*reads crops cut by '{resize}'"):
        crop_spec(codec, other)
    assert crop_spec(codec, "letterbox").input.resize == "letterbox"  # one person in the whole picture


def changed(change) -> str:
    data = json.loads(spec_for().to_json())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "cannot be read"),
        (changed(lambda data: data.update(version=SPEC_VERSION + 1)), "Upgrade litepose"),
        (changed(lambda data: data.pop("codec")), "incomplete"),
        (changed(lambda data: data.pop("skeleton")), "incomplete"),
        (changed(lambda data: data["codec"].update(name="aee")), "Did you mean 'ae'"),
        (changed(lambda data: data["codec"].update(tags=3)), "no setting 'tags'"),
        (changed(lambda data: data["input"].update(resize="crop")), "No resize rule 'crop'"),
        (changed(lambda data: data["input"].update(colour="GBR")), "Possible: RGB, BGR"),
        (changed(lambda data: data["input"].update(size=[256])), "size must be 2 positive numbers"),
        (changed(lambda data: data["input"].update(std=[0, 1, 1])), "std must be 3 positive numbers"),
        (changed(lambda data: data["outputs"].pop()), "do not belong"),
    ],
)
def test_broken_specs_are_explained(text, words):
    with pytest.raises(SpecError, match=words):
        PoseSpec.from_json(text, source="model.onnx")


def test_the_file_is_named_where_its_spec_cannot_be_read():
    with pytest.raises(SpecError, match=r"model\.onnx"):
        PoseSpec.from_json("{", source="model.onnx")


def test_codec_settings_survive_json():
    codec = dataclasses.replace(AECodec(), mode="fast")
    assert codec_from_json(json.loads(json.dumps(codec_to_json(codec)))) == codec
