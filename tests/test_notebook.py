"""The notebook of examples/ runs from its first cell to its last, and says what its text says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import litepose

pytest.importorskip("torch")
nbclient = pytest.importorskip("nbclient", reason="the notebook is run where nbclient and ipykernel are installed")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 300  # for a cell, on a machine that does much besides


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The notebook with its outputs, executed beside its picture in a folder of its own."""
    folder = tmp_path_factory.mktemp("tour")
    shutil.copy(EXAMPLES / "scene.jpg", folder)
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(litepose.__file__).parents[1]))
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        nbclient.NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        ).execute()
    notebook.metadata["folder"] = str(folder)
    return notebook


def printed(book, code: str) -> str:
    """Return what the one cell with this code printed."""
    (cell,) = [cell for cell in book.cells if cell.cell_type == "code" and code in cell.source]
    return "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")


def test_it_is_kept_without_outputs_and_tells_a_story():
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert len(code) < len(notebook.cells) <= 2 * len(code)  # about a text for each cell of code


def test_it_finds_the_people_that_its_text_counts(book):
    assert printed(book, 'litepose.load("litepose_xs"').count("score 0.") == 3  # the fourth is missing
    assert printed(book, "in_boxes").count("0.") == 2


def test_its_network_learns_is_exported_and_scored(book):
    losses = [float(line.rsplit(" ", 1)[1]) for line in printed(book, "train(recipe").splitlines() if "loss" in line]
    assert losses[-1] < losses[0] / 3
    assert "tiny.onnx: 0." in printed(book, "litepose export")
    assert printed(book, "--report").count("PCK ") == 2
    assert "B is better" in printed(book, "litepose compare")
    folder = Path(book.metadata["folder"]) / "out" / "tour"
    assert (folder / "why" / "index.html").stat().st_size > 10_000
    assert (folder / "tiny.onnx").exists()


def test_its_pictures_are_shown(book):
    kinds = [set(output.data) for cell in book.cells if cell.cell_type == "code" for output in cell.outputs
             if output.output_type == "execute_result"]  # fmt: skip
    assert sum("image/png" in one for one in kinds) == 6
    assert any("text/html" in one for one in kinds)  # the page that says why
