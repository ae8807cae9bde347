"""Does a model file compute on ARM what it computes here? Its engine for ARM runs under QEMU, and the outputs compare.

    python benchmarks/arm_check.py litepose_xs run/xs.ncnn.param -o out/arm [--pictures PATH ...] [--wheel NAME==V]

For Debian and Ubuntu on another processor than ARM; nobody need be root. The first call prepares the folder -o, later
ones take what is there: an emulator (QEMU's of this machine, or the distribution's package, unpacked), the
distribution's Python for arm64 with what it needs, and numpy and the engine from pip's wheels for aarch64. Then the
engine computes the prepared pictures (those of examples/ by default) with the emulator and, as litepose opens it, here.
Printed is the largest difference of any output, relative to the largest output. Exit code 0: all within --tolerance, by
default 1e-4, for files with int8 layers 0.15; 1: one differs; 2: it could not be checked.

What is checked is the engine's code for ARM, not its speed: an emulator's time says nothing about a processor's.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from litepose import images, load
from litepose.errors import LiteposeError, MissingPackageError, ModelError, SettingError
from litepose.predictor import Predictor

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
GUEST = HERE / "arm_guest.py"
TOLERANCE = 1e-4  # as for exports: float32 through 50 layers, summed in another order
# Engines round int8 layers' sums in their own ways: a step of 1/127 here and there, which later layers carry on. The
# shipped models' files differ by 0.015 and 0.08.
INT8_TOLERANCE = 0.15
TIMEOUT_S = 900  # of the emulator; LitePose-XS takes some seconds for a picture
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
# ONNX Runtime 1.31.1 breaks off when it is imported under QEMU 7.2; this one does not.
WHEELS = {".onnx": ("numpy==2.4.6", "onnxruntime==1.20.1"), ".param": ("numpy==2.4.6", "ncnn==1.0.20261020")}
GLIBC = ("manylinux2014", "manylinux_2_27", "manylinux_2_28")  # what wheels may ask of the distribution
FROM_APT = (
    "It needs the network, and apt sources that have arm64, as Debian's do; or a folder -o prepared elsewhere. "
    "The emulator is not fetched where it is installed: apt-get install qemu-user-static."
)
FROM_PIP = "It needs the network, and wheels of that version for aarch64; or a folder -o prepared elsewhere."
TO_RUN = (
    "Some wheels do not run under some emulators: try another version, as --wheel onnxruntime==1.20.1, or a newer QEMU."
)
PYTHON_PACKAGES = ("python3", "libstdc++6", "libgomp1")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a shipped model's name, .onnx or .ncnn.param files")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="what is kept lies here")
    parser.add_argument("--pictures", nargs="+", default=[EXAMPLES / "astronaut.jpg", EXAMPLES / "scene.jpg"])
    parser.add_argument("--wheel", action="append", default=[], metavar="NAME==VERSION", help="another version")
    parser.add_argument("--tolerance", type=float, help="of the largest output; default: see above")
    asked = parser.parse_args(arguments)
    any_differs = False
    try:
        for name in asked.models:
            difference, wheels, usual = check(name, images.find(asked.pictures), asked.output, asked.wheel)
            allowed = usual if asked.tolerance is None else asked.tolerance
            differs = not difference <= allowed
            verdict = f"DIFFERS by more than {allowed:g}" if differs else f"the same, within {allowed:g}"
            print(f"{Path(name).name:28} {' '.join(wheels):38} {difference:9.1e}  {verdict}", flush=True)
            any_differs |= differs
    except LiteposeError as error:
        print(error, file=sys.stderr)
        return 2
    return int(any_differs)


def check(
    model: str, pictures: Sequence[Path], folder: Path, asked: Sequence[str]
) -> tuple[float, tuple[str, ...], float]:
    """Return the largest difference of a model's outputs on ARM, relative to the largest one here.

    Beside it the wheels, and the difference that is usual for such a file.

    folder: of the emulator. asked: wheels in place of those of `WHEELS`. Raises LiteposeError.
    """
    predictor = load(model, threads=1)
    if not all(output.stride for output in predictor.spec.outputs):
        raise ModelError(
            f"{model} finds peaks inside, and peaks of nearly one height may change places between engines. Check the "
            "file that is exported without --peaks."
        )
    path = predictor.runtime.path.resolve()
    wheels = chosen_wheels(path, asked)
    inputs = [prepared(predictor, picture) for picture in pictures]
    names = [output.name for output in predictor.spec.outputs]
    here = {
        f"{place}/{name}": output
        for place, batch in enumerate(inputs)
        for name, output in zip(names, predictor.runtime(batch), strict=True)
    }
    check_host()
    emulator, root = emulator_in(folder), python_in(folder)
    packages = packages_in(folder, python_of(root), wheels)
    usual = INT8_TOLERANCE if "quantized" in predictor.spec.provenance else TOLERANCE
    return largest_difference(here, on_arm(path, inputs, names, emulator, root, packages)), wheels, usual


def chosen_wheels(path: Path, asked: Sequence[str]) -> tuple[str, ...]:
    """Return which wheels a model file needs on ARM, in the versions asked for. Raises ModelError, SettingError."""
    if path.suffix not in WHEELS:
        raise ModelError(f"{path} cannot be checked on ARM: possible are files that end in {' or '.join(WHEELS)}.")
    versions = dict(one.split("==") for one in WHEELS[path.suffix])
    for one in asked:
        name, _, version = one.partition("==")
        if not version or not any(name in ready.split("==") for wheels in WHEELS.values() for ready in wheels):
            raise SettingError(f"--wheel wants NAME==VERSION of numpy, onnxruntime or ncnn; found {one!r}.")
        if name in versions:
            versions[name] = version
    return tuple(f"{name}=={version}" for name, version in versions.items())


def prepared(predictor: Predictor, picture: Path) -> np.ndarray:
    """Return a picture as the network takes it, (1, 3, H, W); a top-down model gets all of it as one box."""
    image = images.read(picture)
    height, width = image.shape[:2]
    box = np.array([0, 0, width, height], dtype=np.float64) if predictor.takes_boxes else None
    return np.ascontiguousarray(predictor.prepare(image, predictor.views((width, height), box)[0])[None])


def largest_difference(here: Mapping[str, np.ndarray], there: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference of any two outputs of one name, relative to the largest output here.

    Infinite where shapes differ or anything is no finite number. Raises ModelError where names differ.
    """
    if set(here) != set(there):
        raise ModelError(f"Outputs here: {sorted(here)}; under the emulator: {sorted(there)}. Export the model again.")
    if any(here[name].shape != there[name].shape for name in here):
        return np.inf
    if not all(np.isfinite(one[name]).all() for one in (here, there) for name in here):
        return np.inf
    largest = max(float(np.abs(one).max()) for one in here.values())
    difference = max(float(np.abs(here[name].astype(np.float64) - there[name]).max()) for name in here)
    return difference / max(largest, float(np.finfo(np.float32).tiny))


def check_host() -> None:
    """Raise SettingError on ARM itself, MissingPackageError where the tools are absent that prepare the folder."""
    if platform.machine() in ("aarch64", "arm64"):
        raise SettingError("This machine is an ARM itself: `litepose doctor` tries its engines, without an emulator.")
    absent = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if absent:
        raise MissingPackageError(
            f"The check on ARM takes its Python from Debian's or Ubuntu's packages, and there is no "
            f"{' and no '.join(absent)} here. Run it on such a system or in a container of it, for example "
            "docker run -it debian:12."
        )


def emulator_in(folder: Path) -> Path:
    """Return the emulator: this machine's, or the one kept in `folder`, which is fetched the first time."""
    for name in EMULATORS:
        if found := shutil.which(name):
            return Path(found)
    kept = folder.resolve() / EMULATORS[0]
    if not kept.exists():
        with scratch(folder) as temporary:
            unpack(("qemu-user-static",), host_architecture(), temporary)
            binaries = [temporary / "root/usr/bin" / name for name in EMULATORS]
            found_there = [one for one in binaries if one.exists()]
            if not found_there:
                raise MissingPackageError(
                    f"The package qemu-user-static holds no {' or '.join(EMULATORS)}. Install QEMU's user emulation: "
                    "apt-get install qemu-user-static (qemu-user in newer systems)."
                )
            found_there[0].replace(kept)
    return kept


def python_in(folder: Path) -> Path:
    """Return the folder with the distribution's Python for ARM, which is fetched the first time."""
    kept = folder.resolve() / "root"
    if not kept.exists():
        with scratch(folder) as temporary:
            unpack(PYTHON_PACKAGES, "arm64", temporary)
            (temporary / "root").replace(kept)
    return kept


def python_of(root: Path) -> Path:
    """Return the interpreter below `root`, whose name says its version. Raises MissingPackageError."""
    found = sorted(one for one in root.glob("usr/bin/python3.*") if one.name.removeprefix("python3.").isdigit())
    if not found:
        raise MissingPackageError(f"{root} holds no Python. Remove the folder, and call again to fetch it.")
    return found[-1]


def packages_in(folder: Path, python: Path, wheels: Sequence[str]) -> Path:
    """Return the folder with the unpacked wheels for ARM, which are fetched the first time."""
    kept = folder.resolve() / "-".join(("packages", *wheels)).replace("==", "-")
    if not kept.exists():
        with scratch(folder) as temporary:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(temporary / "packages")]
            run(
                [*pip, *wheel_options(python.name.removeprefix("python")), *wheels],
                f"pip with {' '.join(wheels)}",
                FROM_PIP,
            )
            (temporary / "packages").replace(kept)
    return kept


def wheel_options(version: str) -> list[str]:
    """Return pip's options for wheels of ARM and Python `version`, "3.11", without what they require."""
    platforms = [option for one in GLIBC for option in ("--platform", f"{one}_aarch64")]
    return ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", version, *platforms]


def unpack(packages: Sequence[str], architecture: str, folder: Path) -> None:
    """Unpack packages and all that they need into `folder`/root; the machine itself stays as it is."""
    for part in ("state/lists/partial", "cache/archives/partial", "root"):
        (folder / part).mkdir(parents=True)
    (folder / "state/status").touch()
    apt = ["apt-get", "-qq", *apt_options(folder, architecture)]
    named = f"apt-get with {' '.join(packages)} for {architecture}"
    run([*apt, "update"], named, FROM_APT)
    run([*apt, "--yes", "--no-install-recommends", "--download-only", "install", *packages], named, FROM_APT)
    for archive in sorted((folder / "cache/archives").glob("*.deb")):
        run(["dpkg-deb", "--extract", str(archive), str(folder / "root")], f"dpkg-deb with {archive.name}", FROM_APT)


def apt_options(folder: Path, architecture: str) -> list[str]:
    """Return the options with which apt-get reads the machine's sources and writes only below `folder`."""
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "state/status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",  # apt's own user could not enter the folder
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def host_architecture() -> str:
    return run(["dpkg", "--print-architecture"], "dpkg", FROM_APT).strip()


def on_arm(
    path: Path, inputs: Sequence[np.ndarray], names: Sequence[str], emulator: Path, root: Path, packages: Path
) -> dict[str, np.ndarray]:
    """Return a model's outputs under the emulator: "0/heatmaps" of the first input. Raises ModelError."""
    with tempfile.TemporaryDirectory() as temporary:
        given, found = Path(temporary) / "inputs.npz", Path(temporary) / "outputs.npz"
        np.savez(given, **{str(place): batch for place, batch in enumerate(inputs)})
        program = [emulator, "-L", root, python_of(root), GUEST, path, given, found, *names]
        # Nothing of this machine's environment; one thread, as emulated threads only wait for each other.
        environment = {"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        run([str(one) for one in program], f"{path.name} under {emulator.name}", TO_RUN, environment)
        with np.load(found) as outputs:
            return {name: outputs[name] for name in outputs.files}


def run(command: Sequence[str], named: str, remedy: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a program prints. Raises ModelError with its last lines, and what may help, where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{named} was not ready after {TIMEOUT_S} s. Call again on a quieter machine.") from error
    if done.returncode:
        raise ModelError(failure(named, done.returncode, done.stderr or done.stdout, remedy))
    return done.stdout


def failure(named: str, code: int, said: str, remedy: str) -> str:
    """Say how a program failed and what may help; code: negative = the signal that ended it."""
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with code {code}"
    last = "\n".join(f"    {line}" for line in said.strip().splitlines()[-6:])
    return f"{named} {how}. {remedy}\n{last}".rstrip()


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Yield a folder in `folder` for what is not ready; it vanishes at the end. Raises SettingError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".", dir=folder.resolve())
    except OSError as error:
        raise SettingError(f"Cannot write to {folder}: {error.strerror}. Name another folder with -o.") from error
    with temporary as name:
        yield Path(name)


if __name__ == "__main__":
    sys.exit(main())
