"""The pose spec beside a model file whose format has no place for it: FILE.json, with the checksums of the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from litepose.errors import SpecError
from litepose.files import write_json
from litepose.spec import SPEC_KEY, PoseSpec


def sidecar_of(path: Path) -> Path:
    """Return the sidecar of a model file: "tiny.param.json" of "tiny.param"."""
    return path.with_name(f"{path.name}.json")


def write_sidecar(path: Path, spec: PoseSpec, files: Sequence[Path]) -> None:
    """Write the spec beside the model file `path`; files: the model's, the first of them `path` itself."""
    checksums = {one.suffix: _checksum(one) for one in files}
    write_json(sidecar_of(path), {SPEC_KEY: json.loads(spec.to_json()), "sha256": checksums}, indent=1)


def read_sidecar(path: Path) -> PoseSpec:
    """Return the spec of the model file `path`. Raises SpecError where it is absent, broken or of other files."""
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        raise SpecError(
            f"{path} comes without its pose spec, {sidecar.name}, so its outputs have no meaning here. Put that file "
            "beside it, or export the model with: litepose export"
        )
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        checksums, text = dict(content["sha256"]), json.dumps(content[SPEC_KEY])
    except (ValueError, TypeError, KeyError) as error:
        raise SpecError(f"{sidecar} is no pose spec of a model file ({error!r}). Export the model again.") from error
    for suffix, checksum in checksums.items():
        one = path.with_suffix(suffix)
        if not one.is_file() or _checksum(one) != checksum:
            raise SpecError(
                f"{sidecar} is the pose spec of another {one.name} than the one beside it"
                f"{'' if one.is_file() else ', which is absent'}. Keep a model's files together, or export it again."
            )
    return PoseSpec.from_json(text, source=str(sidecar))


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
