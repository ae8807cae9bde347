"""litepose serve: what it says when it cannot."""

import sys

import pytest

from dot_model import write_dot_model
from litepose.cli import main
from litepose.web.serving import listen


def failure(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "0", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("package", ["uvicorn", "fastapi", "python_multipart"])
def test_without_its_packages_it_says_what_to_install(package, capsys, monkeypatch):
    for name in ("uvicorn", "fastapi", "python_multipart"):
        monkeypatch.setitem(sys.modules, name, None if name == package else sys)
    said = failure(capsys)
    assert f"needs the package {package.replace('_', '-')}" in said
    assert "pip install 'litepose[web]'" in said


@pytest.mark.parametrize("arguments, words", [
    (["--max-upload-mb", "0"], "positive max_upload_mb"), (["--timeout", "nan"], "positive timeout_s"),
    (["--token", "short"], "at least 8 ASCII characters"),
])  # fmt: skip
def test_impossible_limits_are_refused(arguments, words, capsys):
    assert words in failure(capsys, *arguments)


def test_two_models_of_one_name_are_refused(tmp_path, capsys, monkeypatch):
    for name in ("uvicorn", "fastapi", "python_multipart"):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name, sys))
    (tmp_path / "a").mkdir()
    first, second = write_dot_model(tmp_path / "dots.onnx"), write_dot_model(tmp_path / "a" / "dots.onnx")
    assert "are called 'dots'" in failure(capsys, "-m", str(first), "-m", str(second))


def test_a_port_that_is_taken_is_named():
    from litepose.errors import SettingError

    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=f"Cannot listen on 127.0.0.1, port {port}"):
            listen("127.0.0.1", port)


def test_it_listens_on_the_loopback_unless_told_otherwise():
    import inspect

    from litepose.commands.serve import run
    from litepose.web.serving import serve

    assert inspect.signature(run).parameters["host"].default == "127.0.0.1"
    assert inspect.signature(serve).parameters["host"].default == "127.0.0.1"
