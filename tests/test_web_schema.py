"""Schemathesis asks the served API all that its OpenAPI document allows, and more; no answer contradicts it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from page_in_browser import served

# A schema cannot say that bytes are a picture, so "valid" bodies that are none are refused, rightly.
UNSAID = "positive_data_acceptance"


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, "correct-horse"])
def test_no_request_that_schemathesis_thinks_of_breaks_the_server(token, tmp_path):
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or shutil.which("schemathesis")
    if command is None:
        pytest.skip("needs schemathesis (pip install schemathesis)")
    with served("--threads", "1", environment={"LITEPOSE_TOKEN": token or ""}) as (address, process):
        bearing = [] if token is None else ["--header", f"Authorization: Bearer {token}"]
        done = subprocess.run(
            [command, "run", f"{address}/openapi.json", "--max-examples", "25", "--seed", "1", "--no-color",
             "--exclude-checks", UNSAID, *bearing],
            cwd=tmp_path, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert process.poll() is None
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "Tested: 5" in done.stdout
