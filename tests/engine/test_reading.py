"""A checkpoint is data: it is read whole, and runs nothing."""

import functools
import gzip
import json
import os
import pickle
from collections import OrderedDict
from pickle import UnpicklingError

import mmengine.runner
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from psa_seg import trust
from psa_seg.checkpoints.reading import differences, load_checkpoint
from psa_seg.engine import tool, weights
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


DOORS = {
    "load_from": {"load_from": "TRAP"},
    "load_from, of a path with ://": {"load_from": "odd://trap.pth"},
    "load_from, fetched": {"load_from": "https://example.org/trap.pth"},
    "model.pretrained": {"model.pretrained": "TRAP"},
    "model.init_cfg": {"model.init_cfg": dict(type="Pretrained", checkpoint="TRAP")},
    "backbone.pretrained": {"model.backbone.pretrained": "TRAP"},
    "backbone.init_cfg": {"model.backbone.init_cfg": dict(type="Pretrained", checkpoint="TRAP")},
    "one init_cfg of several": {
        "model.decode_head.init_cfg": [
            dict(type="Normal", std=0.01, override=dict(name="conv_seg")),
            dict(type="Pretrained", checkpoint="TRAP", prefix="decode_head."),
        ]
    },
    "of a model zoo": {"model.pretrained": "torchvision://trap"},
}


@pytest.mark.parametrize("door", DOORS)
def test_neither_does_training(tiny, tmp_path, monkeypatch, door):
    """From a checkpoint, wherever it is said to lie, or from weights of a part of the model."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setitem(
        weights.MODELS, "torchvision", lambda: {"trap": "https://example.org/trap.pth"}
    )
    monkeypatch.chdir(tmp_path)
    for folder in ("odd:", "checkpoints"):
        (tmp_path / folder).mkdir()
        torch.save({"state_dict": {}, "meta": Trap(tmp_path / "sprung")}, f"{folder}/trap.pth")
    config = tiny("baseline_deeplabv3plus_cityscapes")
    ((key, value),) = DOORS[door].items()
    *path, last = key.split(".")
    value = json.loads(json.dumps(value).replace("TRAP", str(tmp_path / "odd:/trap.pth")))
    functools.reduce(getattr, path, config)[last] = value
    with pytest.raises(UserError, match="holds more than data"):
        train(config)
    assert not (tmp_path / "sprung").exists()


def test_an_address_is_read_as_a_file_is(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    logs = {"log_scalars": {"loss": HistoryBuffer([1.0], [1])}}
    for name, content in {"a": {"w": torch.ones(1)}, "page": None}.items():
        path = tmp_path / f"checkpoints/{name}.pth"
        torch.save({"state_dict": content, "message_hub": logs}, path)
    path.write_text("<html>")
    found = load_checkpoint("https://example.org/a.pth?x=1")
    assert found["message_hub"]["log_scalars"]["loss"].current() == 1
    with pytest.raises(UserError, match=r"org/page.pth\n.*what lies there is not") as error:
        load_checkpoint("https://example.org/page.pth")
    assert "weights_only" not in str(error.value)


def test_neither_does_mmengine(tmp_path):
    """It would fall back to running a file: whoever asks it, from a disk or any other place."""
    path, sprung = str(tmp_path / "trap.pth"), tmp_path / "sprung"
    torch.save({"state_dict": {}, "meta": Trap(sprung)}, path)
    for use in (
        lambda: mmengine.runner.load_checkpoint(torch.nn.ReLU(), path),
        lambda: CheckpointLoader.load_checkpoint(path),
    ):
        with pytest.raises(UserError, match="holds more than data"):
            use()
    with open(path, "rb") as file, pytest.raises(UnpicklingError):  # as its cloud storages do
        mmengine.runner.checkpoint._safe_torch_load(file)
    assert not sprung.exists()


def test_nor_does_any_other_library_in_a_tool(tmp_path):
    path, sprung = str(tmp_path / "trap.pth"), tmp_path / "sprung"
    torch.save({"state_dict": {}, "meta": Trap(sprung)}, path)
    parser = tool.Parser()
    tool.trust_argument(parser)

    def use():
        torch.load(path, weights_only=False)

    with pytest.raises(UnpicklingError):
        tool.run(use)
    assert not sprung.exists()
    parser.parse_args(["--trust-checkpoint"])
    assert load_checkpoint(path)["state_dict"] == {}
    assert sprung.exists(), "it was asked for"
    trust.refuse()


NOT_CHECKPOINTS = {
    "empty": (b"", "it is empty"),
    "page": (b"\n<!DOCTYPE html><html>sign in</html>", "it is an HTML page.*\n.*again"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid",
        "it is a Git LFS pointer.*\n.*lfs pull",
    ),
    "refusal": (b'<?xml version="1.0"?><Error>', "it is a text in XML"),
    "json": (b'{"message": "Not Found"}', "it is a text in JSON"),
    "pickle": (pickle.dumps({"a": 1}), "it is a plain pickle"),
    "gzip": (gzip.compress(b"x"), "it is a gzip archive"),
    "noise": (bytes(range(7, 200)), "it is not what torch.save writes"),
    "safetensors": (b"\x40" + bytes(7) + b'{"w":{"dtype"', "it is of safetensors, by another name"),
}


@pytest.mark.parametrize(("content", "said"), NOT_CHECKPOINTS.values(), ids=NOT_CHECKPOINTS)
def test_a_refusal_says_what_a_file_is(tmp_path, content, said):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(
        UserError, match=f"cannot be read: {tmp_path}/a.pth\n  because    {said}"
    ) as error:
        load_checkpoint(str(tmp_path / "a.pth"))
    assert "weights_only" not in str(error.value)


def test_and_what_became_of_one(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.ones(1000)}, path)
    whole = path.read_bytes()
    torch.save({"weight": torch.ones(1000)}, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes()
    middle = whole.index(torch.ones(9).numpy().tobytes()) + 400
    changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for content, said in (
        (whole[:middle], "cut short, or damaged"),
        (old[:middle], "of a PyTorch before 1.6, and cut short"),
        (changed, "damaged: .* is not what was written"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=said):
            load_checkpoint(str(path))
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    with pytest.raises(UserError, match="a program of TorchScript"):
        load_checkpoint(str(path))


OTHERS = {
    "list": ([torch.ones(1)], "but a list"),
    "number": (3.0, "but a float"),
    "tensor": (torch.ones(1), "but a Tensor"),
    "state_dict of none": ({"state_dict": [1]}, "but a list, as state_dict"),
    "another's": ({"epoch": 3, "model": {"w": torch.ones(1)}}, "but epoch, model"),
    "no numbers": ({"w": torch.ones(1, device="meta")}, "it holds names and shapes.*: w"),
    "a sparse one": ({"w": torch.eye(3).to_sparse()}, "NotImplementedError: .*SparseCPU"),
}


@pytest.mark.parametrize(("content", "said"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_weights_by_their_names(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=said):
        load_checkpoint(str(tmp_path / "a.pth"))


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64, torch.int64, torch.float16])
def test_numbers_of_another_kind_are_no_weights(dtype):
    own = torch.nn.BatchNorm2d(3).state_dict()
    wrong = differences({**own, "weight": own["weight"].to(dtype)}, own)
    assert wrong == ({} if dtype == torch.float16 else {"no such numbers": ["weight"]})
    averaged = {**own, "num_batches_tracked": torch.tensor(2.5)}
    assert not differences(averaged, own)


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


def test_arrays_and_numbers_of_numpy_are_data(tmp_path):
    """As they lie in the `meta` of published checkpoints; of texts and objects nothing is made."""
    right = {
        "matrix": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "of another order": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 3), np.float32),
        "number": np.float64(0.5),
        "truth": np.bool_(True),
        "log": HistoryBuffer(max_length=7),
    }
    inert = {"texts": np.array(["a"]), "objects": np.array([None])}
    torch.save({"state_dict": {"w": torch.ones(1)}, "meta": right | inert}, tmp_path / "a.pth")
    found = load_checkpoint(str(tmp_path / "a.pth"))["meta"]
    log, its = found.pop("log"), right.pop("log")
    assert log.max_length == its.max_length
    for mine, of_it in zip(log.data, its.data, strict=True):
        np.testing.assert_array_equal(mine, of_it, strict=True)
    for name, value in right.items():
        np.testing.assert_array_equal(found[name], value, strict=True)
    assert not [name for name in inert if isinstance(found[name], np.ndarray)]


def test_a_checkpoint_of_a_run_is_read_to_the_last_tensor(tiny, tmp_path):
    config = tiny("baseline_deeplabv3plus_cityscapes", **{"train_cfg.max_iters": 1})
    train(config)
    path = tmp_path / "work/iter_1.pth"
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)  # it does hold more than weights
    ours, all_of_it = load_checkpoint(str(path)), torch.load(path, weights_only=False)
    assert ours["meta"] == all_of_it["meta"]
    logs, of_all = (each.pop("message_hub") for each in (ours, all_of_it))
    assert logs["runtime_info"] == of_all["runtime_info"]
    for name, log in of_all["log_scalars"].items():
        assert vars(logs["log_scalars"][name]).keys() == vars(log).keys() - {"statistics_methods"}
        for mine, its in zip(logs["log_scalars"][name].data, log.data, strict=True):
            np.testing.assert_array_equal(mine, its, strict=True)
    assert ours["state_dict"].keys() == all_of_it["state_dict"].keys()
    for name, tensor in all_of_it["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], tensor), name
