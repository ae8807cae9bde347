"""What a picture file says about itself before it is decoded: format, size, whether it is whole or transparent.

OpenCV has no call for this in versions that we support (4.8 to 5), and decoding first would already have spent the
memory that a hostile header asks for. Sources: ITU T.81 annex B (JPEG), W3C PNG 11.2, RFC 9649 (WebP),
TIFF 6.0 section 2, GIF89a section 18, the BITMAPINFOHEADER of Windows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

FORMATS = ("JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF")


@dataclass(frozen=True)
class PictureHeader:
    """What the first bytes say.

    format: one of FORMATS. size: (w, h) as stored. alpha: whether pixels may be transparent.
    whole: False where the end is provably missing; only asked of JPEG, whose decoder would not notice.
    """

    format: str
    size: tuple[int, int]
    whole: bool = True
    alpha: bool = False


def read_header(data: bytes) -> PictureHeader | None:
    """Read the header of a picture file's bytes; None where the format is unknown or the header is cut off."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:2] == b"BM":
            return _bmp(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return PictureHeader("GIF", struct.unpack_from("<HH", data, 6), alpha=True)
    except (struct.error, IndexError, KeyError):
        pass
    return None


def _jpeg(data: bytes) -> PictureHeader | None:
    """Walk the segments to the frame's size and the first scan.

    OpenCV 4 fills a cut-off scan with grey and reports success, so the end marker is looked for here: inside a scan
    0xFF is always followed by 0 or a restart marker (T.81 B.1.1.5), so any FF D9 after its start is the real end.
    """
    size, at = None, 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker, length = struct.unpack_from(">xBH", data, at)
        if data[at] != 0xFF:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        at += 2 + length
        if marker == 0xDA:  # start of scan
            if size is None:
                return None
            # Most files end with the marker; searching a whole one costs a tenth of decoding it.
            ends = data.endswith(b"\xff\xd9") and at <= len(data) - 2
            return PictureHeader("JPEG", size, whole=ends or data.find(b"\xff\xd9", at) >= 0)


def _png(data: bytes) -> PictureHeader:
    width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
    pixels = data.find(b"IDAT")
    transparent = colour_type & 4 != 0 or 0 < data.find(b"tRNS", 0, max(pixels, 0)) < pixels
    return PictureHeader("PNG", (width, height), alpha=transparent)


def _webp(data: bytes) -> PictureHeader:
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return PictureHeader("WebP", (width, height), alpha=bool(data[20] & 0x10))
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        return PictureHeader("WebP", size, alpha=bool(bits >> 28 & 1))
    width, height = struct.unpack_from("<HH", data, 26)
    return PictureHeader("WebP", (width & 0x3FFF, height & 0x3FFF))


def _bmp(data: bytes) -> PictureHeader:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # OS/2
        return PictureHeader("BMP", struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return PictureHeader("BMP", (abs(width), abs(height)))  # a negative height stores the rows top down


def _tiff(data: bytes) -> PictureHeader:
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    (count,) = struct.unpack_from(order + "H", data, start)
    values = {}
    for i in range(count):
        tag, kind, _, value = struct.unpack_from(order + "HHII", data, start + 2 + 12 * i)
        if kind == 3:  # a 16-bit value lies in the first two bytes of its field
            (value,) = struct.unpack_from(order + "H", data, start + 2 + 12 * i + 8)
        values[tag] = value
    return PictureHeader("TIFF", (values[256], values[257]), alpha=338 in values)  # 338 = ExtraSamples
