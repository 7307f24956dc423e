"""A checkpoint is data: it is read whole, and runs nothing."""

import os
from collections import OrderedDict

import pytest
import torch

from psa_seg.checkpoints.reading import load_checkpoint
from psa_seg.errors import UserError
from tests.conftest import train


class Trap:
    """Pickled, a program that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Method:
    """Pickled, a call of getattr."""

    def __reduce__(self):
        return getattr, (OrderedDict, "fromkeys")


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


def test_neither_does_training(tiny, tmp_path, monkeypatch):
    """From a checkpoint, wherever it is said to lie, or from weights of a backbone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    sprung = tmp_path / "sprung"
    torch.save({"state_dict": {}, "meta": Trap(sprung)}, tmp_path / "trap.pth")
    name = "baseline_deeplabv3plus_cityscapes"
    started, pretrained = tiny(name, load_from="~/trap.pth"), tiny(name)
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "trap.pth"))
    pretrained.model.backbone.init_cfg = init
    for config in (started, pretrained):
        with pytest.raises(UserError, match="holds more than data"):
            train(config)
    assert not sprung.exists()


def test_what_others_trust_does_not_matter(tmp_path):
    """They share one list with this, in a set: which of two by one name counts would be chance."""
    torch.save({"state_dict": {}, "meta": {"method": Method()}}, tmp_path / "getattr.pth")
    trusted = [getattr, OrderedDict]
    with torch.serialization.safe_globals(trusted):
        found = load_checkpoint(str(tmp_path / "getattr.pth"))["meta"]["method"]
        assert set(torch.serialization.get_safe_globals()) >= set(trusted), "nor is it forgotten"
    assert not callable(found)


def test_what_stands_in_for_logs_calls_nothing(tmp_path):
    torch.save({"state_dict": {}, "meta": {"method": Method()}}, tmp_path / "getattr.pth")
    found = load_checkpoint(str(tmp_path / "getattr.pth"))["meta"]["method"]
    assert not callable(found)
    assert vars(found) == {}


def test_a_checkpoint_of_a_run_is_read_to_the_last_tensor(tiny, tmp_path):
    config = tiny("baseline_deeplabv3plus_cityscapes", **{"train_cfg.max_iters": 1})
    train(config)
    path = tmp_path / "work/iter_1.pth"
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)  # it does hold more than weights
    ours, all_of_it = load_checkpoint(str(path)), torch.load(path, weights_only=False)
    assert ours["meta"] == all_of_it["meta"]
    assert ours["state_dict"].keys() == all_of_it["state_dict"].keys()
    for name, tensor in all_of_it["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], tensor), name
