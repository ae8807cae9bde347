"""One HTML page that holds everything it shows: style, pictures and charts; it opens from a file and asks for nothing.

A page is a jinja2 template of `pages/`, which extends `base.html`: there are the style, for light and dark, for phones
and for print, and a policy by which the browser itself refuses whatever lies outside of the page. No script is needed:
what folds is <details>. Charts are matplotlib figures made without pyplot; draw them with LINES and BARS, whose entries
differ in lightness and in dash, marker or hatch, so that they stay apart in grey print and for the colour-blind.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from litepose.errors import MissingPackageError, PictureError
from litepose.files import write_text
from litepose.geometry import size_of

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "pages"
INSTALL = "Install it: pip install 'litepose[eval]'."

# Okabe and Ito 2008, ordered so that neighbours differ in lightness. Arguments of Axes.plot and of Axes.bar.
LINES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#E69F00", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": (0, (1, 1)), "marker": "x"},
    {"color": "#56B4E9", "linestyle": "-.", "marker": "D"},
    {"color": "#000000", "linestyle": ":", "marker": "^"},
    {"color": "#D55E00", "linestyle": (0, (5, 1)), "marker": "v"},
)
BARS: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "edgecolor": "#000000", "hatch": ""},
    {"color": "#C8C8C8", "edgecolor": "#000000", "hatch": "//"},
    {"color": "#56B4E9", "edgecolor": "#000000", "hatch": ".."},
    {"color": "#F0C05A", "edgecolor": "#000000", "hatch": "\\\\"},
    {"color": "#D55E00", "edgecolor": "#000000", "hatch": "xx"},
    {"color": "#7FCFB4", "edgecolor": "#000000", "hatch": "--"},
)


def write_page(path: str | Path, template: str, **values: Any) -> None:
    """Write the page that `template`, a file of `pages/`, makes of `values`; nothing half-written is ever seen.

    Texts among the values are escaped. Raises SettingError where the file cannot be written, MissingPackageError.
    """
    write_text(path, render(template, **values))


def render(template: str, **values: Any) -> str:
    """Return the page as text. A value that the template uses and does not get is an error of the caller."""
    check_page_packages(charts=False)
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values) + "\n"


def picture_uri(image: np.ndarray, *, longest_px: int = 480, quality: int = 80) -> str:
    """Return an (H, W, 3) uint8 BGR picture as a "data:" address of a JPEG, shrunk where its longer side is longer."""
    zoom = longest_px / max(size_of(image))
    if zoom < 1:
        size = tuple(max(1, round(side * zoom)) for side in size_of(image))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[arg-type]
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise PictureError(f"A picture of {image.shape} cannot be put into a page: OpenCV encodes no JPEG of it.")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def svg(figure: Figure, *, label: str) -> Markup:
    """Return a matplotlib figure as an <svg> element to stand in a page; the same figure gives the same text.

    label: what the chart shows, for those who cannot see it. The ids within begin with a hash of the drawing, so that
    charts of one page do not take each other's. Letters are outlines; the width follows the page's up to the figure's.
    Raises MissingPackageError.
    """
    check_page_packages()
    import matplotlib
    from markupsafe import Markup, escape

    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "litepose", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = drawn.getvalue()
    text = text[text.index("<svg") :].strip()  # no XML prolog within HTML
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    prefix = "c" + hashlib.sha256(text.encode()).hexdigest()[:10] + "-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", text)
    width_px = round(96 * figure.get_figwidth())
    head = f'<svg class="chart" role="img" aria-label="{escape(label)}" style="max-width: {width_px}px"'
    opening = re.sub(r'\s(width|height|version)="[^"]*"', "", text[: text.index(">")])
    return Markup(head + opening[len("<svg") :] + text[text.index(">") :])  # matplotlib escapes the figure's texts


def check_page_packages(*, charts: bool = True) -> None:
    """Raise MissingPackageError where no page (or no chart) could be made; call it before the work it is for."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(f"A page needs the package jinja2, which is not installed. {INSTALL}") from error
    if not charts:
        return
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(f"A chart needs the package matplotlib, which is not installed. {INSTALL}") from error
