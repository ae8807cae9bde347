"""The browser's engine, onnxruntime-web, taken from the npm registry: python -m litepose.web.engine_files (`make web`).

Version, archive and files are pinned by their hashes; nothing of the archive is executed, and only the files named here
leave it. They lie beside the page, with their licence, and are no part of the repository.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import tarfile
import urllib.request
from io import BytesIO
from pathlib import Path

from litepose.errors import LiteposeError, MissingPackageError

VERSION = "1.30.0"
ARCHIVE_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
DEFAULT_REGISTRY = "https://registry.npmjs.org"
FOLDER = Path(__file__).parent / "static" / "ort"
# Name -> SHA-256 of the file.
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
WEBGPU_FILES = {
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
LICENCE = """onnxruntime-web {version}, https://github.com/microsoft/onnxruntime

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def missing(names: dict[str, str] = FILES, folder: Path = FOLDER) -> list[str]:
    """Return which of the engine's files are not there as they should be."""
    return [name for name, digest in names.items() if not _is(folder / name, digest)]


def check_engine(folder: Path = FOLDER) -> None:
    """Raise MissingPackageError where the page's engine is not there."""
    if lost := missing(folder=folder):
        raise MissingPackageError(
            f"The page needs the engine onnxruntime-web {VERSION}; missing or changed: {', '.join(lost)}. Fetch it "
            "from the npm registry (33 MB): make web, or without the repository: python -m litepose.web.engine_files"
        )


def fetch(folder: Path = FOLDER, *, webgpu: bool = False, archive: bytes | None = None) -> list[str]:
    """Put the engine's files that are not there yet into `folder`; return their names.

    webgpu: those for graphics cards too. archive: the package, where it need not be downloaded.
    Raises LiteposeError where the download fails or is not the pinned one.
    """
    from litepose.files import write_bytes, write_text

    wanted = FILES | WEBGPU_FILES if webgpu else FILES
    names = missing(wanted, folder)
    if names:
        data = _download() if archive is None else archive
        found = base64.b64encode(hashlib.sha512(data).digest()).decode()
        if found != ARCHIVE_SHA512:
            raise LiteposeError(
                f"onnxruntime-web {VERSION} came with the SHA-512 {found}; {ARCHIVE_SHA512} is pinned. Nothing was "
                "written. Ask your registry's owner why the package differs."
            )
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=BytesIO(data), mode="r:gz") as package:
            for name in names:
                member = package.extractfile(f"package/dist/{name}")
                assert member is not None, name
                write_bytes(folder / name, member.read())
    write_text(folder / "LICENSE", LICENCE.format(version=VERSION))
    assert not missing(wanted, folder), missing(wanted, folder)
    return names


def _download() -> bytes:
    registry = os.environ.get("NPM_CONFIG_REGISTRY", DEFAULT_REGISTRY).rstrip("/")
    address = f"{registry}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    try:
        with urllib.request.urlopen(address, timeout=120) as answer:
            return bytes(answer.read())
    except OSError as error:
        raise LiteposeError(
            f"{address} cannot be downloaded: {error}. Check the network, or name another registry of npm packages in "
            "NPM_CONFIG_REGISTRY."
        ) from error


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


if __name__ == "__main__":
    try:
        done = fetch(webgpu="--webgpu" in sys.argv[1:])
    except LiteposeError as error:
        sys.exit(f"litepose: {error}")
    print(f"onnxruntime-web {VERSION}: {', '.join(done) if done else 'all there'} -> {FOLDER}")
