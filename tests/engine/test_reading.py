"""A checkpoint is data: it is read whole, and runs nothing."""

import os
from collections import OrderedDict

import pytest
import torch

from psa_seg.engine import launch
from psa_seg.engine.preflight.checkpoint import load_checkpoint
from psa_seg.errors import UserError


class Trap:
    """Pickled, a program that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_checkpoint_runs_no_program(tmp_path, zipped):
    path, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    content = {"state_dict": {"weight": torch.ones(1)}, "meta": Trap(sprung)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"holds more than data.*\n.*posix.system") as error:
        load_checkpoint(str(path))
    assert str(path) in str(error.value)
    assert not sprung.exists()
    torch.load(path, weights_only=False)
    assert sprung.exists(), "the trap is one"


def test_what_stands_in_for_logs_calls_nothing(tmp_path):
    class Method:
        def __reduce__(self):
            return getattr, (OrderedDict, "fromkeys")

    torch.save({"state_dict": {}, "meta": {"method": Method()}}, tmp_path / "getattr.pth")
    found = load_checkpoint(str(tmp_path / "getattr.pth"))["meta"]["method"]
    assert not callable(found)
    assert vars(found) == {}


def test_a_checkpoint_of_a_run_is_read_to_the_last_tensor(tiny, tmp_path):
    config = tiny("baseline_deeplabv3plus_cityscapes", **{"train_cfg.max_iters": 1})
    launch.train(config)
    path = tmp_path / "work/iter_1.pth"
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)  # it does hold more than weights
    ours, all_of_it = load_checkpoint(str(path)), torch.load(path, weights_only=False)
    assert ours["meta"] == all_of_it["meta"]
    assert ours["state_dict"].keys() == all_of_it["state_dict"].keys()
    for name, tensor in all_of_it["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], tensor), name
