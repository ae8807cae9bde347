"""Accuracies from a supernet: what is measured, on which pictures, and that nothing remembers the network before."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("hotcoco")

from litepose import checkpoints  # noqa: E402
from litepose import supernet as supernets  # noqa: E402
from litepose.datasets import open_dataset  # noqa: E402
from litepose.errors import ModelError, SettingError  # noqa: E402
from litepose.metrics import evaluate  # noqa: E402
from litepose.predictor import Predictor  # noqa: E402
from litepose.search.evaluate import BATCH, SupernetAccuracy  # noqa: E402
from litepose.search.space import SPACES  # noqa: E402
from litepose.training.calibration import open_pictures, picture_batches  # noqa: E402
from litepose.training.validate import LiveRuntime  # noqa: E402
from tiny_supernet import SPACE, tiny_supernet  # noqa: E402

PICTURES = "synthetic:people=1-2,seed=4,size=96,length=6"
OTHERS = "synthetic:people=1-2,seed=5,size=96,length=8"


@pytest.fixture
def file(tmp_path):
    whole = tiny_supernet()
    checkpoints.save(tmp_path / "super.safetensors", whole.network.state_dict(), whole.spec)
    return tmp_path / "super.safetensors"


def accuracy(file, **changes):
    return SupernetAccuracy(file, PICTURES, **{"batches": 1, "measure": "OKS", "calibration": OTHERS, **changes})


def test_accuracy_is_that_of_the_network_cut_out_and_recalibrated(file):
    arch = SPACE.smallest()
    found = accuracy(file)(arch)
    whole = tiny_supernet()
    network, spec = whole.sub_network(arch)
    samples = open_pictures(OTHERS, spec)
    supernets.recalibrate(network, picture_batches(samples, (64, 64), spec.input, batches=1, batch=BATCH))
    report = evaluate(Predictor(LiveRuntime(network, spec, torch.device("cpu"))), open_dataset(PICTURES)).to_json()
    assert found["OKS"] == pytest.approx(report["OKS"], abs=1e-9)
    assert found["accuracy"] == found["OKS"] > 0
    assert found["AP"] == report["stats"]["AP"]


def test_a_network_measures_the_same_whatever_was_measured_before_and_in_another_process(file):
    measure = accuracy(file)
    first = measure(SPACE.smallest())
    measure(SPACE.largest())
    assert measure(SPACE.smallest()) == first
    assert pickle.loads(pickle.dumps(measure))(SPACE.smallest()) == first


def test_statistics_come_from_the_pictures_given_for_them(file):
    with_others, with_same = accuracy(file)(SPACE.largest()), accuracy(file, calibration=None)(SPACE.largest())
    assert with_others["OKS"] != with_same["OKS"]


def test_results_are_known_by_weights_data_and_settings(file):
    about = accuracy(file, limit=3).about()
    assert about["measure"] == "OKS" and about["limit"] == 3 and about["calibration_pictures"] == 16
    assert len(about["supernet_sha256"]) == 64
    assert about["data"] != about["calibration"]


def test_the_validation_set_of_the_training_is_refused(tmp_path):
    whole = tiny_supernet()
    spec = whole.spec.with_provenance(recipe={"data": {"validation": {"source": "coco/val.json"}}})
    checkpoints.save(tmp_path / "super.safetensors", whole.network.state_dict(), spec)
    with pytest.raises(SettingError, match="is the validation set of this supernet"):
        SupernetAccuracy(tmp_path / "super.safetensors", "somewhere/coco/val.json")(SPACE.smallest())


def test_an_arch_of_another_space_and_an_unknown_measure_are_refused(file):
    with pytest.raises(ModelError, match="Possible there: 64, 96"):
        accuracy(file)(SPACES["authors"].largest())
    with pytest.raises(SettingError, match="Possible: AP, OKS"):
        accuracy(file, measure="PCK")


def test_the_first_pictures_alone_can_be_looked_at(file):
    assert np.isfinite(accuracy(file, limit=2)(SPACE.smallest())["OKS"])
