"""A checkpoint's config is data: nothing in it is run, imported or fetched; else, it is told."""

import copy
import re
import shutil
import sys

import numpy as np
import pytest
import torch

import psa_seg
from psa_seg.checkpoints.reading import load_checkpoint
from psa_seg.errors import UserError
from tests.conftest import ROOT
from tests.inference.conftest import NAME


@pytest.fixture
def changed(checkpoint, tmp_path):
    """A function: (meta → None) → a checkpoint whose meta has been changed so."""

    def write(change):
        held = copy.deepcopy(dict(load_checkpoint(str(checkpoint))))
        held = {"state_dict": held["state_dict"], "meta": {**held["meta"]}}
        held["meta"] = {k: v for k, v in held["meta"].items() if k in ("cfg", "dataset_meta")}
        change(held["meta"])
        torch.save(held, tmp_path / "changed.pth")
        return tmp_path / "changed.pth"

    return write


def with_text(old, new):
    """In the config, all of `old` by `new`."""

    def change(meta):
        assert old in meta["cfg"]
        meta["cfg"] = meta["cfg"].replace(old, new)

    return change


ATTACKS = {
    "a call": lambda meta: meta.update(cfg="import os\nos.mkdir('ran')\n" + meta["cfg"]),
    "a value that is one": with_text("num_classes=19", "num_classes=open('ran', 'w') or 19"),
    "a type anywhere": with_text("type='LeanEncoderDecoder'", "type='os.mkdir', name='ran'"),
    "a type of a module here": with_text("type='PolarizedASPPHead'", "type='victim.run'"),
    "a step": with_text("type='PackSegInputs'", "type='os.mkdir', path='ran'"),
    "a name of another registry": with_text("type='PolarizedASPPHead'", "type='FolderDataset'"),
    "a backbone that fetches": with_text("type='PolarizedASPPHead'", "type='TIMMBackbone'"),
    "a step that unpickles": with_text(
        "type='LoadImageFromFile'", "type='LoadBiomedicalData', decode_backend='pickle'"
    ),
    "a scope": with_text(
        "type='LeanEncoderDecoder'", "type='LeanEncoderDecoder', _scope_='victim'"
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_a_checkpoint_is_run(changed, tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "victim").mkdir()
    ran = "open('ran', 'w')\ndef run(**_): pass\n"
    for module in ("victim/__init__.py", "victim/registry.py", "FolderDataset.py"):
        (tmp_path / module).write_text(ran)
    with pytest.raises(UserError, match=r"--config FILE"):
        psa_seg.load(changed(ATTACKS[attack]))
    assert not (tmp_path / "ran").exists()
    assert "victim" not in sys.modules


def test_a_step_reads_files_and_nothing_else(changed, tmp_path, segmenter, pictures):
    """mmengine's backend of that name would import `mc`, from a path that it is told."""
    (tmp_path / "mc.py").write_text("raise SystemExit('imported')")
    backend = f"backend='memcached', server_list_cfg='', client_cfg='', sys_path='{tmp_path}'"
    loads = "type='LoadImageFromFile'"
    path = changed(with_text(loads, f"{loads}, backend_args=dict({backend})"))
    found = psa_seg.load(path)(pictures[0])
    np.testing.assert_array_equal(found.labels, segmenter(pictures[0]).labels)
    assert str(tmp_path) not in sys.path


def test_its_imports_are_not_followed(changed, tmp_path, monkeypatch, segmenter, pictures):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "victim.py").write_text("raise SystemExit('imported')\n")
    path = changed(with_text("'psa_seg.registered'", "'victim', 'psa_seg.registered'"))
    found = psa_seg.load(path)(pictures[0])
    np.testing.assert_array_equal(found.labels, segmenter(pictures[0]).labels)


def test_weights_that_a_training_starts_from_are_not_sought(changed, tmp_path):
    held = with_text("norm_eval=False", "norm_eval=False, pretrained='/no/such.pth'")
    psa_seg.load(changed(held))
    held = with_text("use_sigmoid=False", "use_sigmoid=False, class_weight='/no/such.pkl'")
    psa_seg.load(changed(held))


def test_types_in_full_are_known(changed, pictures, segmenter):
    """As mmengine writes those of a config that names classes, and not their names."""
    full = "type='psa_seg.models.decode_heads.PolarizedASPPHead'"
    path = changed(with_text("type='PolarizedASPPHead'", full))
    found = psa_seg.load(path)(pictures[0])
    np.testing.assert_array_equal(found.labels, segmenter(pictures[0]).labels)


def test_upstreams_segmentor_becomes_the_lean_one(changed, pictures, segmenter):
    path = changed(with_text("type='LeanEncoderDecoder'", "type='EncoderDecoder'"))
    found = psa_seg.load(path)(pictures[0], tile=96)
    np.testing.assert_array_equal(found.labels, segmenter(pictures[0], tile=96).labels)


def test_without_names_classes_have_numbers(changed):
    found = psa_seg.load(changed(lambda meta: meta.pop("dataset_meta")))
    assert found.names[:2] == ("class 0", "class 1")
    assert len({*found.palette}) == len(found.palette) == 19
    named = psa_seg.load(changed(lambda meta: meta["dataset_meta"].update(palette=[[1, 2]])))
    assert named.names[0] == "road"
    assert len({*named.palette}) == 19


def test_a_checkpoint_without_a_config_needs_one(changed, tmp_path):
    path = changed(lambda meta: meta.pop("cfg"))
    with pytest.raises(UserError, match="does not tell the config"):
        psa_seg.load(path)
    other = str(ROOT / "configs" / f"{NAME}.py")  # of full width
    with pytest.raises(UserError, match="checkpoint is of another model"):
        psa_seg.load(path, config=other)


@pytest.mark.parametrize("name", ["no/such.pth", "", "folder"])
def test_what_is_no_checkpoint_is_told(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"checkpoint (not found|is a folder)"):
        psa_seg.load(name)
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(UserError, match="checkpoint cannot be read"):
        psa_seg.load("text.pth")


def test_one_line_of_a_pipeline_that_does_not_load(changed):
    with pytest.raises(UserError, match="no test pipeline that begins by loading an image"):
        psa_seg.load(changed(lambda meta: meta.update(cfg=_without_loading(meta["cfg"]))))


def _without_loading(text):
    return re.sub(r"dict\(type='LoadImageFromFile'\),", "", text)


def set_to(key, text):
    """In the config, another value at the top."""
    return lambda meta: meta.update(cfg=f"{meta['cfg']}\n{key} = {text}\n")


MALFORMED = {
    "a number for a loader": set_to("test_dataloader", "5"),
    "a text for a data set": set_to("test_dataloader", "dict(dataset='cityscapes')"),
    "steps that are none": set_to("test_dataloader", "dict(dataset=dict(pipeline=[1, 2]))"),
    "a step without a type": set_to("test_dataloader", "dict(dataset=dict(pipeline=[dict(a=1)]))"),
    "a step that is a text": set_to(
        "test_dataloader", "dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), 'x']))"
    ),
    "a step that does nothing so": set_to(
        "test_dataloader",
        "dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize')]))",
    ),
    "a size that is a list": with_text("type='Resize'", "type='Resize', scale_factor=[2]"),
    "views that are none": set_to("tta_pipeline", "'x'"),
    "a backbone that is a text": with_text("backbone=dict(", "backbone='x', _=dict("),
    "channels that are none": with_text("num_classes=19", "num_classes=-1"),
    "a list for a data.yaml": set_to(
        "test_dataloader",
        "dict(dataset=dict(type='FolderDataset', pipeline=[dict(type='LoadImageFromFile')]))",
    ),
    "a key that mmengine keeps": set_to("text", "'mine'"),
    "a model without heads": set_to("model", "dict(type='LeanEncoderDecoder')"),
    "a model of another kind": set_to("model", "dict(type='SegTTAModel')"),
    "a head that is a list": set_to("model", "dict(type='EncoderDecoder', decode_head=[])"),
    "an option too many": with_text("norm_eval=False", "norm_eval=False, colour='red'"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_config_that_is_none_is_told(changed, case):
    """Whatever its shape: one message, with the checkpoint's name."""
    path = changed(MALFORMED[case])
    with pytest.raises(UserError, match=re.escape(str(path))):
        psa_seg.load(path)


STRANGE = {
    "no loader": set_to("test_dataloader", "None"),
    "no validation": set_to("val_dataloader", "None"),
    "a data set of one's own": set_to(
        "val_dataloader", "dict(dataset=dict(type='victim.Mine', data_root='.', n=1))"
    ),
    "options of a data set": set_to(
        "val_dataloader", "dict(dataset=dict(type='FolderDataset', data_root='.'))"
    ),
    "a list of images that is elsewhere": set_to(
        "val_dataloader",
        "dict(dataset=dict(type='PascalVOCDataset', data_root='no', ann_file='val.txt'))",
    ),
    "names in a file": set_to(
        "val_dataloader", "dict(dataset=dict(type='FolderDataset', metainfo=dict(classes='c.txt')))"
    ),
    "several data sets": set_to("val_dataloader", "dict(dataset=dict(datasets=5, data_root='.'))"),
    "a number for a data set": set_to("val_dataloader", "dict(dataset=5)"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_what_prediction_does_not_need_may_be_strange(changed, case, pictures, segmenter):
    found = psa_seg.load(changed(STRANGE[case]))
    np.testing.assert_array_equal(found(pictures[0]).labels, segmenter(pictures[0]).labels)
    assert (found.validation() is None) == (case != "no loader")


@pytest.mark.parametrize("place", ["metainfo=dict(classes='{}')", "ann_file='{}', metainfo={{}}"])
def test_nothing_is_fetched(changed, monkeypatch, place):
    """... nor a library imported that would: mmengine does both for what begins as an address."""
    for address in ("http://127.0.0.1:9/names.txt", "s3://bucket/names.txt"):
        text = f"type='CamVidDataset', data_root='.', {place.format(address)}"
        path = changed(set_to("val_dataloader", f"dict(dataset=dict({text}))"))
        monkeypatch.setattr("mmengine.fileio.backends.HTTPBackend.get_text", pytest.fail)
        monkeypatch.setitem(sys.modules, "petrel_client", None)
        assert psa_seg.load(path)._validation is None


def test_validation_images_are_there_without_their_masks(segmenter, streets, tmp_path, pictures):
    twin = copy.copy(segmenter)
    twin._validation = {**segmenter._validation, "data_root": str(tmp_path)}
    assert twin.validation() is None
    shutil.copytree(streets / "leftImg8bit/val", tmp_path / "leftImg8bit/val")
    assert len(twin.validation()) == len(pictures)
    assert twin.validation(masks=True) is None
    assert len(segmenter.validation(masks=True)) == len(pictures)
