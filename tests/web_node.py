"""The page's modules run by Node.js, for tests; without it a test is skipped."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import litepose

STATIC = Path(litepose.__file__).parent / "web" / "static"

PRELUDE = """
import { readFileSync } from "node:fs";
const unpack = (value) => {
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object") return value;
  if ("base64" in value) {
    const bytes = Buffer.from(value.base64, "base64");
    const kind = { float32: Float32Array, uint8: Uint8ClampedArray }[value.dtype];
    return { data: new kind(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)), dims: value.shape };
  }
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, unpack(one)]));
};
const given = unpack(JSON.parse(readFileSync(0, "utf8")));
const answer = (value) => process.stdout.write(JSON.stringify(value, (_, one) =>
  ArrayBuffer.isView(one) ? Array.from(one) : one));
"""


def run_module(code, **given):
    """Run code that calls `answer(value)`; `given` holds the arguments, arrays as {data, dims}.

    {STATIC} in the code stands for the modules' folder.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js on the PATH")
    script = PRELUDE + code.replace("{STATIC}", STATIC.as_uri())
    done = subprocess.run(
        [node, "--input-type=module", "-e", script], input=json.dumps(packed(given)), capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def packed(value):
    """Return plain values, arrays as their bytes."""
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"base64": data, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, dict):
        return {key: packed(one) for key, one in value.items()}
    return [packed(one) for one in value] if isinstance(value, list | tuple) else value
