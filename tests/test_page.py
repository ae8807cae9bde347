"""Pages that hold everything they show."""

import base64
import re
import sys

import cv2
import numpy as np
import pytest

import browser
from litepose import page
from litepose.errors import MissingPackageError, SettingError

pytest.importorskip("jinja2")
TEMPLATE = """{% extends "base.html" %}
{% block title %}{{ name }}{% endblock %}
{% block body %}
<p>{{ text }}</p>
{% for one in pictures %}<img src="{{ one }}" alt="noise">{% endfor %}
{% for one in charts %}<figure>{{ one }}</figure>{% endfor %}
<details><summary>More</summary><p>folded away</p></details>
<div class="wide"><table><tr>{% for n in range(40) %}<td>column {{ n }}</td>{% endfor %}</tr></table></div>
{% endblock %}
"""


@pytest.fixture
def template(tmp_path, monkeypatch):
    """A template of the tests' own beside the real base."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "base.html").write_text((page.TEMPLATES / "base.html").read_text())
    (folder / "test.html").write_text(TEMPLATE)
    monkeypatch.setattr(page, "TEMPLATES", folder)
    return "test.html"


def noise(width, height):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def chart(values, label="<em>Share</em> & more"):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(values, **page.LINES[0])
    axes.set_xlabel(label)
    return figure


def test_texts_are_escaped_and_a_missing_value_is_an_error(template):
    text = page.render(template, name="a & b", text="<script>alert(1)</script>", pictures=(), charts=())
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "<title>a &amp; b</title>" in text
    with pytest.raises(Exception, match="'text' is undefined"):
        page.render(template, name="a", pictures=(), charts=())


def test_the_page_is_written_in_one_step_and_never_over_a_folder(template, tmp_path):
    page.write_page(tmp_path / "new" / "index.html", template, name="n", text="t", pictures=(), charts=())
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["index.html"]
    with pytest.raises(SettingError, match="is a folder"):
        page.write_page(tmp_path / "new", template, name="n", text="t", pictures=(), charts=())


@pytest.mark.parametrize(("size", "wanted"), [((400, 100), (200, 50)), ((100, 400), (50, 200)), ((90, 60), (90, 60))])
def test_a_picture_is_shrunk_to_its_longest_side_and_never_enlarged(size, wanted):
    kind, data = page.picture_uri(noise(*size), longest_px=200).split(",")
    assert kind == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (wanted[1], wanted[0], 3)


def test_lower_quality_gives_a_shorter_address():
    image = noise(100, 100)
    assert len(page.picture_uri(image, quality=40)) < len(page.picture_uri(image, quality=90))


def test_the_same_figure_gives_the_same_svg_without_prolog_date_or_maker():
    first, second = (page.svg(chart([1, 2, 3]), label="three values") for _ in range(2))
    assert first == second
    assert first.startswith("<svg ") and first.endswith("</svg>")
    assert not re.search(r"<\?xml|<!DOCTYPE|<metadata|Matplotlib v|dc:date", first)
    assert 'aria-label="three values"' in first


def test_ids_of_two_figures_do_not_meet_and_each_points_at_its_own():
    texts = [page.svg(chart(values), label="a") for values in ([1, 2, 3], [3, 2, 1])]
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in texts]
    assert ids[0] and not ids[0] & ids[1]
    for text, known in zip(texts, ids, strict=True):
        pointed = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
        assert pointed and pointed <= known


def test_texts_of_a_figure_and_its_label_are_escaped():
    text = page.svg(chart([1], label="<script>x</script>"), label='"<b>')
    assert "<script" not in text and "<b>" not in text


@pytest.mark.parametrize("styles", [page.LINES, page.BARS])
def test_neighbouring_colours_differ_in_lightness(styles):
    grey = [np.dot([int(one["color"][n : n + 2], 16) for n in (1, 3, 5)], (0.299, 0.587, 0.114)) for one in styles]
    assert np.abs(np.diff(grey)).min() > 30  # of 255: seen side by side in grey print


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_an_absent_package_is_named_with_what_installs_it(monkeypatch, package):
    for name in [package, f"{package}.figure"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*pip install 'litepose\[eval\]'"):
        page.check_page_packages()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_a_browser_shows_the_page_and_asks_for_nothing(template, tmp_path, width, dark):
    page.write_page(
        tmp_path / "index.html",
        template,
        name="A page",
        text="What it says",
        pictures=[page.picture_uri(noise(600, 300))],
        charts=[page.svg(chart([1, 2, 3]), label="a"), page.svg(chart([3, 1, 2]), label="b")],
    )
    seen = browser.visit(tmp_path / "index.html", width=width, dark=dark, screenshot=tmp_path / "page.png")
    assert (seen.console, seen.errors, seen.requests) == ((), (), ())
    assert seen.title == "A page"
    assert "What it says" in seen.text and "folded away" in seen.text
    assert (seen.num_pictures, seen.broken_pictures) == (1, 0)
    assert seen.overflow_px == 0


@pytest.mark.slow
def test_a_visit_sees_errors_and_outside_requests(tmp_path):
    (tmp_path / "bad.html").write_text('<img src="http://127.0.0.1:9/x.png"><script>undefined_name()</script>')
    seen = browser.visit(tmp_path / "bad.html")
    assert seen.requests == ("http://127.0.0.1:9/x.png",)
    assert len(seen.errors) == 1 and "undefined_name" in seen.errors[0]
    assert seen.broken_pictures == 1 and seen.console
