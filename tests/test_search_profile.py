"""Latency tables: what is timed, what a disturbed machine does to it, and that engines run the parts."""

import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from litepose.errors import SettingError  # noqa: E402
from litepose.search.latency import load_table  # noqa: E402
from litepose.search.parts import Part, head_of, parts_of, parts_of_space  # noqa: E402
from litepose.search.profile import ENGINES, engine_of, measure, profile  # noqa: E402
from litepose.search.space import SearchSpace  # noqa: E402

COCO = {"num_keypoints": 17}
HEAD = head_of(COCO)
SPACE = SearchSpace("few", (64, 96), (8,), ((8,), (8,), (8,)), ((8,), (8,), (8,), (8, 16)), ((1,), (1,), (1,), (1, 2)))


class DisturbedEngine:
    """Runs take 1, 2, 3 ms by name; in every fourth opening ten times that."""

    def __init__(self):
        self.openings = 0

    def __call__(self, key, build):
        self.openings += 1
        spent_ms = float(key) * (10 if self.openings % 4 == 0 else 1)

        def run():
            end = time.thread_time() + spent_ms / 1000
            while time.thread_time() < end:
                pass

        return run


def test_disturbances_of_some_rounds_do_not_count():
    names = ["1", "2", "3"]
    times = measure(DisturbedEngine(), dict.fromkeys(names), np.random.default_rng(0), rounds=5)
    assert [times[name] for name in names] == pytest.approx([1, 2, 3], rel=0.2)


@pytest.mark.parametrize("runtime", ENGINES)
def test_every_kind_of_part_runs_in_every_engine(runtime, tmp_path):
    parts = {part.kind: part for part in parts_of_space(SPACE, HEAD)}
    assert set(parts) == {"stem", "block", "deconv", "raw deconv", "head", "raw head"}
    engine = engine_of(runtime, 1, tmp_path)
    for part in parts.values():
        engine(part.key, lambda part=part: (part.build(), part.input_shape))()


def test_a_larger_part_takes_longer(tmp_path):
    small, large = Part("block", 8, 8, 16, 7, 1, 6), Part("block", 32, 32, 64, 7, 1, 6)
    builds = {part.key: lambda part=part: (part.build(), part.input_shape) for part in (small, large)}
    times = measure(engine_of("onnx", 1, tmp_path), builds, np.random.default_rng(0), rounds=2)
    assert times[large.key] > 10 * times[small.key]  # 64 times the work


def test_a_table_holds_all_parts_of_the_space_and_whole_networks_to_judge_it_by(tmp_path):
    steps = []
    table = profile(SPACE, COCO, rounds=1, networks=(6, 5), progress=lambda *step: steps.append(step))
    parts = parts_of_space(SPACE, HEAD)
    assert set(table.parts) == {part.key for part in parts}
    assert (len(table.fitted), len(table.checked)) == (6, 2)  # the space has no more than eight
    assert steps[-1] == (len(parts) + 2 * 8, len(parts) + 2 * 8)
    assert table.machine["runtime"] == "onnx" and table.machine["threads"] == 1
    small, large = (table.predict(part.key for part in parts_of(arch, HEAD)) for arch in
                    (SPACE.smallest(), SPACE.largest()))  # fmt: skip
    assert 0 < small < large
    table.save(tmp_path / "table.json")
    assert load_table(tmp_path / "table.json") == table
    assert "parts by onnx with 1 threads on" in table.summary() and "On 2 others" in table.summary()


def test_an_engine_that_cannot_run_parts_is_refused():
    with pytest.raises(SettingError, match="Possible: onnx, torch"):
        engine_of("onnxx", 1, Path())
