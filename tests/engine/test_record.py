"""What a run writes down of itself, and the gates it draws."""

import json
import os
import re
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS

from psa_seg import PolarizedSelfAttention
from psa_seg.datasets import RawCityscapesDataset
from psa_seg.engine.describe import setting
from psa_seg.engine.pictures import find_gating
from psa_seg.errors import UserError
from psa_seg.records import read, write
from psa_seg.records.fingerprint import fingerprint, of_data
from psa_seg.records.scores import scores
from tests.conftest import small, train

NAME = "psa_deeplabv3plus_cityscapes"


@pytest.fixture(scope="module")
def written(streets, tmp_path_factory):
    """The record of a short run, and its config."""
    folder = tmp_path_factory.mktemp("record")
    options = {"train_cfg.max_iters": 2, "train_cfg.val_interval": 1, "randomness.seed": 3}
    config = small(NAME, streets, folder / "work", **options)
    expected = fingerprint(config), setting(config)
    train(config)
    return json.loads((folder / "work/record.json").read_text()), expected


def test_it_says_which_run_it_was(written):
    record, (config_hash, setting) = written
    assert (record["config_hash"], record["setting"]) == (config_hash, setting)
    assert record["config"] == f"{NAME}.py"
    assert record["label"] == "PolarizedSelfAttention, head"
    assert record["attentions"] == {"head": {"type": "PolarizedSelfAttention"}}
    assert (record["seed"], record["iterations"], record["max_iterations"]) == (3, 2, 2)
    assert record["backbone"] == "R-50-D8"
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?", record["attempts"][0]["commit"])


def test_every_figure_derives_from_the_confusion(written):
    record, _ = written
    assert [v["iteration"] for v in record["validations"]] == [1, 2]
    last = scores(np.array(record["validations"][-1]["confusion"]))
    assert record["mIoU"] == pytest.approx(float(last["mIoU"]), abs=1e-4)
    assert set(record["IoU"]) == set(record["classes"])
    assert np.sum(record["validations"][0]["confusion"]) > 0


def test_it_says_what_the_run_cost(written):
    record, _ = written
    assert record["training_memory"]["of"] == "process, resident"
    # A process with PyTorch and MMSegmentation holds hundreds, and no more than the machine has.
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    assert 200 < record["training_memory"]["MiB"] < total
    inference = record["inference"]
    assert inference["size"] == [128, 256]
    assert 0 < inference["GFLOPs"] < 10
    ratio = inference["milliseconds"] / inference["plain_milliseconds"]
    assert 0.2 < ratio < 5, "the attention is a thousandth of the work"


def test_a_run_does_not_go_on_with_other_data(tiny, tmp_path):
    options = {"train_cfg.max_iters": 2, "train_cfg.val_interval": 1, "custom_hooks.0.samples": 1}
    train(tiny(NAME, **options))
    path = tmp_path / "work/record.json"
    record = read(path)
    write(path, replace(record, data_hash="another"))
    with pytest.raises(UserError, match="differ from those that this run began with"):
        train(tiny(NAME, **options, resume=True))
    assert read(path).validations == record.validations


@DATASETS.register_module()
class TwoRoads(RawCityscapesDataset):
    names = RawCityscapesDataset.METAINFO["classes"]
    METAINFO: ClassVar = RawCityscapesDataset.METAINFO | {"classes": ("road", "road", *names[2:])}


def test_a_run_that_no_record_can_be_of_is_refused(tiny):
    config = tiny(NAME, **{"train_cfg.max_iters": 1})
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.type = "TwoRoads"
    with pytest.raises(UserError, match="could not be read: two classes have one name"):
        train(config)


def test_a_run_that_is_over_is_not_cut_shorter(tiny, tmp_path):
    end = {"param_scheduler.0.end": 2, "custom_hooks.0.samples": 1}
    train(tiny(NAME, **end, **{"train_cfg.max_iters": 2}))
    with pytest.raises(UserError, match="beyond the end of this run: step 2 of 1"):
        train(tiny(NAME, **end, **{"train_cfg.max_iters": 1}, resume=True))
    assert read(tmp_path / "work/record.json").is_complete


def test_data_are_told_apart_by_names_and_sizes(streets, tmp_path):
    class Fake:
        def __init__(self, files):
            self.files = files

        def __len__(self):
            return len(self.files)

        def get_data_info(self, index):
            return dict(img_path=str(self.files[index]), seg_map_path=str(self.files[index]))

    files = [tmp_path / name for name in ("a.png", "b.png")]
    for file in files:
        file.write_text("1")
    one = of_data(Fake(files))
    assert of_data(Fake(files[:1]), Fake(files[1:])) == one
    assert of_data(Fake(files[:1])) != one
    files[0].write_text("22")
    assert of_data(Fake(files)) != one


def test_the_gate_nearest_to_the_output_is_drawn():
    first, last = PolarizedSelfAttention(4), PolarizedSelfAttention(4, layout="sequential")
    channel = PolarizedSelfAttention(4, branches="channel")
    assert find_gating(torch.nn.Sequential(first, last, channel)) is last
    assert find_gating(channel) is None
