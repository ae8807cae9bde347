"""What litepose costs before and beside the network: installed bytes, time to import, memory while predicting.

    python benchmarks/footprint.py [--install] [--model litepose_xs] [--runs 5]

Installed bytes are those that the files of the core packages take here, by their metadata (compiled Python files left
out); with --install, litepose's own wheel is built and installed into a fresh environment with pip, and that is
measured instead: it needs a package index, some 200 MB and a minute. Times are CPU seconds of fresh processes, the
median of the runs. Memory is resident, the most that a fresh process ever held: an interpreter with numpy, OpenCV and
the engine imported, and the same after ten pictures; what the model and litepose take is the difference.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALLOWED_MB = 150
TIME = "import time; start = time.process_time(); {}; print(time.process_time() - start)"
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
IMPORTS = "import numpy, cv2, onnxruntime; cv2.setNumThreads(1)"
PREDICT = """
{imports}
import numpy
from litepose.predictor import load
predictor = load({model!r}, threads=1)
picture = numpy.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=numpy.uint8)
for _ in range(10):
    predictor(picture)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="measure a fresh installation of the wheel")
    parser.add_argument("--model", default="litepose_xs")
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()

    print("installed                     MB")
    sizes = installed_fresh() if asked.install else installed_here()
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{name:24}{size / 1e6:8.1f}")
    print(f"{'all':24}{sum(sizes.values()) / 1e6:8.1f}   torch is not among them: {'torch' not in sizes}")

    print("\nCPU s of a fresh process, median")
    for what in ("pass", "import litepose", "import numpy, cv2", "import onnxruntime", "import litepose.predictor"):
        print(f"{what:28}{statistics.median(float(fresh(TIME.format(what))) for _ in range(asked.runs)):8.3f}")
    print(f"{'litepose --help':28}{statistics.median(command_seconds() for _ in range(asked.runs)):8.3f}")

    print("\nmost resident memory, MB")
    engine = float(fresh(f"{IMPORTS}\n{PEAK}"))
    predicting = float(fresh(PREDICT.format(imports=IMPORTS, model=asked.model) + PEAK))
    print(f"{'interpreter + engine':28}{engine:8.0f}\n{'predicting with ' + asked.model:28}{predicting:8.0f}")
    over = predicting - engine
    print(f"{'over':28}{over:8.0f}   allowed {ALLOWED_MB}: {'kept' if over <= ALLOWED_MB else 'NOT KEPT'}")


def installed_here() -> dict[str, int]:
    """Return the bytes of litepose and of each package that its core needs, directly or by way of another."""
    sizes, waiting = {"litepose": folder_bytes(ROOT / "src" / "litepose")}, ["litepose"]
    while waiting:
        for requirement in importlib.metadata.requires(waiting.pop()) or []:
            name = re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
            if ";" in requirement or name in sizes:  # an extra, or for another system
                continue
            files = importlib.metadata.files(name) or []
            places = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
            sizes[name] = sum(place.stat().st_size for place in places if place.is_file())
            waiting.append(name)
    return sizes


def installed_fresh() -> dict[str, int]:
    """Return the bytes of each package after pip has installed the wheel into an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check"]
        constraints = ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, "install", "--no-compile", "--target", str(place), *constraints, str(ROOT)], check=True)
        found = importlib.metadata.distributions(path=[str(place)])
        return {
            one.metadata["Name"].lower(): sum(
                Path(str(file.locate())).stat().st_size
                for file in one.files or []
                if Path(str(file.locate())).is_file()
            )
            for one in found
        }


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def command_seconds() -> float:
    """Return the CPU seconds of the command line that prints its help, as the system counts them for a child."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "litepose", "--help"], check=True, capture_output=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


if __name__ == "__main__":
    main()
