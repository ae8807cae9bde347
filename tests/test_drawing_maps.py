"""A network's maps over the picture: colours where heat is, one hue for one person, the files of --show-maps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dot_model import K, crop_spec, lay_out, paint, write_crop_model, write_dot_model
from litepose import cli, drawing_maps
from litepose.codecs import CODECS, HeatmapCodec, MapLayers
from litepose.drawing_maps import LINE_PX, PAD_PX, draw_maps, keypoint_colours
from litepose.errors import SettingError
from litepose.folders import predict_files
from litepose.geometry import Warp
from litepose.predictor import load
from litepose.skeleton import COCO17, CROWDPOSE14

SIZE = (640, 480)


def bump(size: tuple[int, int], x: float, y: float, sigma: float = 2.0) -> np.ndarray:
    columns, rows = np.arange(size[0]), np.arange(size[1])[:, None]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)).astype(np.float32)


def layers_of(places: dict[int, tuple[float, float]], tags: dict[int, float] | None = None) -> MapLayers:
    """Return (17, 32, 40) heatmaps with one bump each, and where tags are given, each keypoint's everywhere."""
    heatmaps = np.zeros((K, 32, 40), dtype=np.float32)
    for keypoint, (x, y) in places.items():
        heatmaps[keypoint] = bump((40, 32), x, y)
    if tags is None:
        return MapLayers(heatmaps)
    of = np.array([tags.get(keypoint, 0.0) for keypoint in range(K)], dtype=np.float32)
    return MapLayers(heatmaps, np.tile(of[:, None, None], (1, 32, 40)))


def grey(size: tuple[int, int] = (160, 128)) -> np.ndarray:
    return np.full((size[1], size[0], 3), 128, dtype=np.uint8)


def hue_at(panel: np.ndarray, x: float, y: float) -> int:
    """Of a panel 16 times as large as the maps."""
    pixel = panel[int(16 * y) : int(16 * y) + 1, int(16 * x) : int(16 * x) + 1]
    return int(cv2.cvtColor(pixel, cv2.COLOR_BGR2HSV)[0, 0, 0])


def panels_of(page: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut the (512, 640) panels of one frame of 160x128 out of a page."""
    return [page[LINE_PX : LINE_PX + 512, n * (640 + PAD_PX) + PAD_PX : (n + 1) * (640 + PAD_PX)] for n in range(count)]


def test_a_keypoints_heat_has_its_colour_where_it_is_and_the_picture_is_grey_elsewhere():
    left, right = COCO17.index("left_wrist"), COCO17.index("right_wrist")
    layers = layers_of({left: (10, 8), right: (30, 20)})
    (panel,) = panels_of(draw_maps(grey(), [(Warp.identity((160, 128)), layers)], COCO17), 1)
    colours = keypoint_colours(COCO17)
    for keypoint, (x, y) in ((left, (10, 8)), (right, (30, 20))):
        at = panel[int(16 * y + 8), int(16 * x + 8)].astype(int)
        assert np.abs(at - (0.9 * colours[keypoint] + 0.1 * 64)).max() < 12
    assert (panel[40:60, 600:620] == 64).all()  # half of the picture's 128, no colour


def test_colours_say_the_side_and_differ_from_each_other():
    for skeleton in (COCO17, CROWDPOSE14):
        colours = keypoint_colours(skeleton)
        sided = [i for i, name in enumerate(skeleton.keypoints) if "_" in name and name != "head_top"]
        assert len({tuple(colours[i]) for i in sided}) == len(sided)
        for i in sided:
            blue, green, red = colours[i].astype(int)
            warm = red > max(blue, green) - 1
            assert warm == skeleton.keypoints[i].startswith("left"), skeleton.keypoints[i]
    assert keypoint_colours(COCO17)[0].tolist() == [235, 235, 235]  # the nose


def test_people_have_different_hues_and_all_keypoints_of_one_the_same():
    tags = {0: -2.0, 5: -2.0, 6: 3.0, 7: 3.0}
    places = {0: (6, 6), 5: (12, 12), 6: (30, 8), 7: (34, 20)}
    page = draw_maps(grey(), [(Warp.identity((160, 128)), layers_of(places, tags))], COCO17)
    _, panel = panels_of(page, 2)
    hues = {keypoint: hue_at(panel, x, y) for keypoint, (x, y) in places.items()}
    assert abs(hues[0] - hues[5]) <= 2 and abs(hues[6] - hues[7]) <= 2
    assert abs(hues[0] - hues[6]) > 100


def test_faint_maps_are_shown_faint():
    layers = MapLayers(np.full((K, 32, 40), 0.01, dtype=np.float32))
    (panel,) = panels_of(draw_maps(grey(), [(Warp.identity((160, 128)), layers)], COCO17), 1)
    assert np.abs(panel[8:-8, 8:-8].astype(int) - 64).max() < 20  # a tenth of the full colour


def test_without_a_frame_the_picture_stands_alone_and_of_many_boxes_not_all_are_shown():
    assert draw_maps(grey(), [], COCO17).shape == (128 + LINE_PX + PAD_PX, 160 + 2 * PAD_PX, 3)
    frame = (Warp.identity((160, 128)), layers_of({0: (5, 5)}))
    counts = {n: draw_maps(grey(), [frame] * n, COCO17).shape for n in (24, 40)}
    assert counts[24][1] == counts[40][1]
    assert counts[40][0] - counts[24][0] in (0, LINE_PX)  # at most a line of the legend


def test_a_picture_of_maps_that_are_empty_or_flat_is_drawn_too():
    layers = layers_of({}, {})
    page = draw_maps(grey(), [(Warp.identity((160, 128)), layers)], COCO17)
    assert (panels_of(page, 2)[0][8:-8, 8:-8] == 64).all()


def test_offsets_are_no_heat_and_high_maps_come_down_to_one():
    maps = np.arange(3 * K * 4 * 5, dtype=np.float32).reshape(3 * K, 4, 5)
    combined = HeatmapCodec(encoding="udp_combined", refinement="udp_combined").layers(maps, COCO17)
    np.testing.assert_array_equal(combined.heatmaps, maps[::3])
    high = HeatmapCodec(encoding="megvii", refinement="megvii").layers(np.full((K, 4, 5), 255, np.float32), COCO17)
    assert (high.heatmaps == 1).all() and high.tags is None


@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_a_predictor_gives_the_layers_of_what_it_decodes(tmp_path, decode):
    predictor = load(write_dot_model(tmp_path / "dots.onnx"), threads=1, decode=decode)
    people = lay_out(2, SIZE)
    ((frame, layers),) = predictor.layers(paint(people, SIZE))
    assert len(layers.heatmaps) == K and layers.tags.shape == layers.heatmaps.shape
    height, width = layers.heatmaps.shape[1:]
    cell = frame.warp.points(people) / np.array(frame.warp.size) * [width, height]
    for person in range(2):
        x, y = cell[person, 3].astype(int)
        assert layers.heatmaps[3, y, x] > 0.5
    tags = [layers.tags[3, int(y), int(x)] for x, y in cell[:, 3]]
    assert abs(tags[0] - tags[1]) > 2


def test_every_codec_has_layers():
    for name, kind in CODECS.items():
        assert callable(kind.layers), name


@pytest.fixture
def picture(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "two.png"), paint(lay_out(2, SIZE), SIZE))
    return folder / "two.png"


def litepose(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_show_maps_writes_them_beside_the_drawing(picture, tmp_path, capsys):
    model = write_dot_model(tmp_path / "dots.onnx")
    out = tmp_path / "out"
    assert litepose("predict", picture, "-m", model, "-o", out, "--show-maps") == 0
    assert sorted(path.name for path in out.iterdir()) == ["two.maps.png", "two.png"]
    page = cv2.imread(str(out / "two.maps.png"))
    assert page.shape[1] == 2 * (640 + PAD_PX) + PAD_PX
    assert litepose("predict", picture, "-m", model, "-o", tmp_path / "plain") == 0
    assert not (tmp_path / "plain" / "two.maps.png").exists()


def test_show_maps_with_a_results_file_alone_draws_into_the_usual_folder(picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = write_dot_model(tmp_path / "dots.onnx")
    assert litepose("predict", picture, "-m", model, "--json", "people.json", "--show-maps") == 0
    assert (tmp_path / "litepose-out" / "two.maps.png").exists()


def test_a_top_down_model_shows_a_panel_for_each_box(tmp_path, picture, monkeypatch):
    predictor = load(write_crop_model(tmp_path / "crops.onnx", spec=crop_spec(size=(96, 128))), threads=1)
    shown = []
    monkeypatch.setattr(
        "litepose.folders.draw_maps", lambda *given: shown.append(given) or drawing_maps.draw_maps(*given)
    )
    boxes = np.array([[0, 0, 300, 400], [300, 0, 600, 400], [100, 100, 200, 200]], dtype=np.float32)
    (outcome,) = predict_files(predictor, [picture], output=tmp_path / "out", boxes=[boxes], show_maps=True)
    _, frames, _ = shown[0]
    assert len(frames) == 3 and all(layers.tags is None for _, layers in frames)
    assert outcome.drawn.with_name("two.maps.png").exists()


def test_maps_never_overwrite_an_input(tmp_path, picture):
    predictor = load(write_dot_model(tmp_path / "dots.onnx"), threads=1)
    other = picture.with_name("two.maps.png")
    other.write_bytes(picture.read_bytes())
    before = other.read_bytes()
    (picture.parent / "elsewhere").mkdir()
    with pytest.raises(SettingError, match=r"would overwrite the input .*two\.maps\.png"):
        list(
            predict_files(
                predictor, [picture.parent / "x" / ".." / "two.maps.png"], output=picture.parent, show_maps=True
            )
        )
    with pytest.raises(SettingError, match=r"would overwrite the input"):
        list(predict_files(predictor, [picture, other], output=picture.parent, show_maps=True))
    assert other.read_bytes() == before
