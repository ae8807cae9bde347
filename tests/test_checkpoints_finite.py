"""Weights that are no numbers do not come in."""

import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints, models  # noqa: E402
from litepose.errors import CheckpointError  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_checkpoint_with_numbers_that_are_none_is_refused_by_the_names_of_its_tensors(tmp_path, value):
    state = models.build("litepose_xs", num_keypoints=17).state_dict()
    weights = [name for name in state if name.endswith("weight")]
    for name in weights[:8]:
        state[name].view(-1)[-1] = value
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError) as refused:
        checkpoints.import_official(tmp_path / "broken.pth", "litepose_xs", COCO17)
    said = str(refused.value)
    assert "broken.pth" in said and f"8 of {len(state)} tensors" in said
    assert all(name in said for name in weights[:6]) and weights[7] not in said
