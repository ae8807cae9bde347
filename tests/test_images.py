"""Pictures in and out. Pillow writes the odd kinds that OpenCV cannot write."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from litepose import images
from litepose.errors import PictureError, SettingError
from litepose.files import replacing
from litepose.picture_header import read_header

SIZE = (48, 32)  # (w, h)


def scene() -> np.ndarray:
    """A smooth BGR picture whose four corners differ, so that a turn or a swapped channel is seen."""
    x, y = np.meshgrid(np.linspace(0, 200, SIZE[0]), np.linspace(0, 180, SIZE[1]))
    return np.round(np.stack([x, y, 220 - x], axis=-1)).astype(np.uint8)


def pil(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(scene()[..., ::-1])).convert(mode)


def saved(picture: Image.Image, kind: str, **settings) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def png_of_16_bits() -> bytes:
    return cv2.imencode(".png", scene().astype(np.uint16) * 257)[1].tobytes()


def tiff_of_16_bits() -> bytes:
    return cv2.imencode(".tif", scene().astype(np.uint16) * 257)[1].tobytes()


GREY = cv2.cvtColor(cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)

# name -> (bytes, what must be read, tolerance in levels with its reason)
GOOD = {
    "jpeg": (saved(pil(), "JPEG", quality=98, subsampling=0), scene(), 4),  # JPEG's quantisation
    "progressive jpeg": (saved(pil(), "JPEG", quality=98, subsampling=0, progressive=True), scene(), 4),
    "grey jpeg": (saved(pil("L"), "JPEG", quality=98), GREY, 4),
    "CMYK jpeg": (saved(pil("CMYK"), "JPEG", quality=98, subsampling=0), scene(), 8),  # quantised in four inks
    "png": (saved(pil(), "PNG"), scene(), 0),
    "grey png": (saved(pil("L"), "PNG"), GREY, 1),  # two libraries' rounding of the grey value
    "grey and alpha png": (saved(pil("LA"), "PNG"), GREY, 1),
    "palette png": (saved(pil("P"), "PNG"), scene(), 52),  # 216 web colours: a step is 51
    "16-bit png": (png_of_16_bits(), scene(), 0),
    "16-bit tiff": (tiff_of_16_bits(), scene(), 0),
    "webp": (saved(pil(), "WEBP", lossless=True), scene(), 0),
    "bmp": (saved(pil(), "BMP"), scene(), 0),
    "tiff": (saved(pil(), "TIFF"), scene(), 0),
    "lzw tiff": (saved(pil(), "TIFF", compression="tiff_lzw"), scene(), 0),
    "animated png": (
        saved(pil(), "PNG", save_all=True, append_images=[Image.new("RGB", SIZE, (255, 0, 0))]),
        scene(),
        0,
    ),
    "1x1 png": (saved(Image.new("RGB", (1, 1), (30, 20, 10)), "PNG"), np.array([[[10, 20, 30]]], np.uint8), 0),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_of_picture_becomes_bgr_of_8_bits(name):
    data, wanted, tolerance = GOOD[name]
    image = images.read(data)
    assert image.dtype == np.uint8 and image.shape == wanted.shape
    assert np.abs(image.astype(int) - wanted).max() <= tolerance


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_counts_or_opencv_is_named(kind):
    data = saved(pil(), kind, save_all=True, append_images=[Image.new("RGB", SIZE, (255, 0, 0))])
    try:
        image = images.read(data)
    except PictureError as error:  # OpenCV before 4.12
        assert "OpenCV" in str(error)
        return
    assert np.abs(image.astype(int) - scene()).mean() < 12  # GIF's palette, WebP's compression; a red frame: > 80


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_onto_white(kind):
    picture = pil("RGBA")
    alpha = np.full(SIZE[::-1], 255, np.uint8)
    alpha[:, : SIZE[0] // 2] = 0
    picture.putalpha(Image.fromarray(alpha))
    image = images.read(saved(picture, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
    assert (image[:, : SIZE[0] // 2] == 255).all()
    np.testing.assert_array_equal(image[:, SIZE[0] // 2 :], scene()[:, SIZE[0] // 2 :])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_respected(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(pil(), kind, exif=exif, **({"quality": 98, "subsampling": 0} if kind == "JPEG" else {}))
    turned = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: np.rot90,
    }  # fmt: skip
    wanted = turned[orientation](scene())
    image = images.read(data)
    assert image.shape == wanted.shape
    assert np.abs(image.astype(int) - wanted).max() <= 4  # JPEG's quantisation


def huge_png(width: int, height: int) -> bytes:
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = b"IHDR" + body
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(body))
        + header
        + struct.pack(">I", zlib.crc32(header))
        + b"\0" * 20
    )


def huge_jpeg(width: int, height: int) -> bytes:
    data = bytearray(saved(pil(), "JPEG"))
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


WHOLE = {
    "jpeg": saved(pil(), "JPEG"), "progressive jpeg": saved(pil(), "JPEG", progressive=True),
    "CMYK jpeg": saved(pil("CMYK"), "JPEG"), "png": saved(pil(), "PNG"), "webp": saved(pil(), "WEBP", lossless=True),
    "bmp": saved(pil(), "BMP"), "tiff": saved(pil(), "TIFF"),
}  # fmt: skip

# name -> (bytes, a word that the message must hold)
BAD = {
    "empty": (b"", "empty"),
    "text": (b"this is no picture at all", "starts with"),
    "jpeg of two bytes": (b"\xff\xd8", "starts with"),
    "zeros": (bytes(1000), "starts with"),
    "png header only": (saved(pil(), "PNG")[:40], "damaged"),
    "no pixels": (huge_png(0, 0), "without pixels"),
    "huge png": (huge_png(60_000, 50_000), "3000 megapixels"),
    "huge jpeg": (huge_jpeg(65_000, 65_000), "4225 megapixels"),
    "noise after a jpeg start": (b"\xff\xd8\xff\xe0" + bytes(range(256)), "starts with"),
    **{f"{name} cut at {share:.0%}": (data[: int(len(data) * share)], "")
       for name, data in WHOLE.items() for share in (0.5, 0.9)},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_one_error_that_names_the_file(name, tmp_path):
    data, word = BAD[name]
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=r"holiday\.jpg") as caught:
        images.read(path)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", WHOLE)
def test_damaged_bytes_give_a_picture_or_a_picture_error_and_nothing_else(name):
    rng = np.random.default_rng(len(name))
    for _ in range(60):
        data = np.frombuffer(WHOLE[name], np.uint8).copy()
        places = rng.integers(0, min(len(data), 600), rng.integers(1, 6))
        data[places] = rng.integers(0, 256, len(places))
        try:
            image = images.read(data.tobytes(), max_megapixels=1)
        except PictureError:
            continue
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@pytest.mark.parametrize("name", WHOLE)
def test_the_header_alone_tells_the_size(name):
    header = read_header(WHOLE[name])
    assert header is not None and header.size == SIZE and header.whole


def test_a_huge_picture_is_read_where_it_is_allowed():
    big = saved(Image.new("L", (400, 300)), "PNG")
    with pytest.raises(PictureError, match="max-megapixels"):
        images.read(big, max_megapixels=0.1)
    assert images.read(big, max_megapixels=None).shape == (300, 400, 3)


def test_a_missing_file_a_folder_and_a_typo_are_named(tmp_path):
    (tmp_path / "family.jpg").write_bytes(WHOLE["jpeg"])
    with pytest.raises(PictureError, match=r"Did you mean .*family\.jpg"):
        images.read(tmp_path / "famly.jpg")
    with pytest.raises(PictureError, match="folder"):
        images.read(tmp_path)


def test_find_takes_files_globs_and_folders_in_natural_order(tmp_path):
    for name in ("img10.jpg", "img2.jpg", "IMG1.PNG", "notes.txt", ".hidden.jpg", "sub/img3.webp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    names = [path.name for path in images.find([tmp_path])]
    assert names == ["IMG1.PNG", "img2.jpg", "img10.jpg"]
    assert [path.name for path in images.find([tmp_path], recursive=True)] == [*names, "img3.webp"]
    assert [path.name for path in images.find([str(tmp_path / "img*.jpg")])] == ["img2.jpg", "img10.jpg"]
    assert [path.name for path in images.find([tmp_path / "notes.txt", tmp_path, tmp_path / "img2.jpg"])] == [
        "notes.txt",
        *names,
    ]


@pytest.mark.parametrize("source", ["empty", "empty/*.jpg", "absent.jpg"])
def test_a_source_that_stands_for_nothing_is_an_error(source, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match=source.split("/")[0]):
        images.find([str(tmp_path / source)])


def test_output_names_keep_folders_only_where_names_repeat(tmp_path):
    one, two, three = tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg", tmp_path / "a" / "2.jpg"
    assert [str(name) for name in images.distinct_names([one, three])] == ["1.jpg", "2.jpg"]
    assert [name.as_posix() for name in images.distinct_names([one, two])] == ["a/1.jpg", "b/1.jpg"]


@pytest.mark.parametrize("suffix", images.WRITE_SUFFIXES)
def test_written_pictures_read_back(suffix, tmp_path):
    images.write(tmp_path / "new" / f"out{suffix}", scene())
    image = images.read(tmp_path / "new" / f"out{suffix}")
    assert np.abs(image.astype(int) - scene()).max() <= 25  # lossy kinds subsample the colours of a steep gradient
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"out{suffix}"]


def test_an_unknown_suffix_is_not_written(tmp_path):
    with pytest.raises(PictureError, match=r"\.png"):
        images.write(tmp_path / "out.heic", scene())
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(SettingError, match="folder"), replacing(tmp_path):
        pass
