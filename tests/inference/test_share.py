"""Weights that travel: the same logits out of a folder, nothing of this disk in it, a true card."""

import json
import re
import runpy
import shlex
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
from mmseg.registry import MODELS

import psa_seg
from psa_seg.checkpoints import shared
from psa_seg.checkpoints.reading import load_checkpoint
from psa_seg.datasets.data_file import read_data_file
from psa_seg.engine.own_data import use_data
from psa_seg.errors import UserError
from psa_seg.inference.share import CARD, share
from psa_seg.records import write
from tests.conftest import ROOT, evaluate, small, train
from tests.datasets import own
from tests.inference.conftest import NAME, STEPS
from tests.leaderboard.invented import record

PAGE = (ROOT / "docs/predict.md").read_text()


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    """As the page makes it."""
    place = tmp_path_factory.mktemp("shared")
    (place / "iter_700.pth").write_bytes(checkpoint.read_bytes())
    (line,) = (line for line in PAGE.splitlines() if "tools/share.py" in line)
    _, tool, *words = shlex.split(line)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", [tool, *words])
        runpy.run_path(str(ROOT / tool), run_name="__main__")
    assert "CC BY 4.0" in (place / "street-model" / CARD).read_text()
    return place / "street-model"


def test_a_folder_gives_the_same_to_the_bit(folder, segmenter, pictures):
    assert sorted(p.name for p in folder.iterdir()) == [CARD, "config.json", "model.safetensors"]
    found = psa_seg.load(folder, device="cpu")
    assert (found.names, found.palette) == (segmenter.names, segmenter.palette)
    for tta in (False, True):
        one, other = (each(pictures[0], scores=True, tta=tta) for each in (found, segmenter))
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_config_is_plain_data_and_tells_nothing_of_this_disk(folder, checkpoint, streets):
    text = (folder / "config.json").read_text()
    json.loads(text)
    assert str(streets) not in text
    assert str(checkpoint.parent) not in text
    assert "load_from" not in text
    size = (folder / "model.safetensors").stat().st_size
    assert size < 1.1 * sum(
        t.nbytes for t in load_checkpoint(str(checkpoint))["state_dict"].values()
    )


def test_wherever_a_checkpoint_is_read(folder, checkpoint, streets, tmp_path, capsys):
    """Tests, trainings that start from it, and mmengine's own `Pretrained`."""
    weights = str(folder / "model.safetensors")
    evaluate(small(NAME, streets, tmp_path / "one"), str(checkpoint))
    expected = re.findall(r"mIoU: \d+\.\d+", capsys.readouterr().out)[-1]
    evaluate(small(NAME, streets, tmp_path / "other"), weights)
    assert expected in capsys.readouterr().out
    config = small(NAME, streets, tmp_path / "model")
    model = dict(config.model, init_cfg=dict(type="Pretrained", checkpoint=weights))
    built = MODELS.build(model)
    built.init_weights()
    expected = load_checkpoint(str(checkpoint))["state_dict"]
    for name, tensor in built.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_training_starts_from_it(folder, streets, tmp_path, capsys):
    options = {"train_cfg.max_iters": 1, "train_cfg.val_interval": 1, "custom_hooks": []}
    config = small(NAME, streets, tmp_path / "run", **options)
    config.load_from = str(folder / "model.safetensors")
    train(config)
    assert f"start      {config.load_from}" in capsys.readouterr().out


def test_values_of_a_data_yaml_travel_too(checkpoint, streets, tmp_path):
    own.draw(tmp_path / "photos")
    data = read_data_file(own.describe(tmp_path / "photos", "values: {0: a, 1: b, 2: c}"))
    config = small(NAME, streets, tmp_path / "run")
    use_data(config, data)
    bucket = dict(backend="local", path_mapping={"data/": "s3://bucket/jane/"})
    config.test_dataloader.dataset.pipeline[0].backend_args = bucket
    model = MODELS.build(config.model)
    meta = {
        "cfg": config.pretty_text,
        "dataset_meta": dict(classes=data.names, palette=[list(c) for c in data.palette]),
    }
    torch.save({"state_dict": model.state_dict(), "meta": meta}, tmp_path / "iter_1.pth")
    share(str(tmp_path / "iter_1.pth"), tmp_path / "out")
    found = psa_seg.load(tmp_path / "out")
    assert found.names == ("a", "b", "c")
    assert dict(found.data.ids) == {0: 0, 1: 1, 2: 2}
    text = (tmp_path / "out/config.json").read_text()
    assert str(tmp_path) not in text
    assert "jane" not in text


def card(checkpoint, folder, **options):
    """What the folder's card says, of a run in `folder`."""
    (folder / "iter_1.pth").write_bytes(checkpoint.read_bytes())
    share(str(folder / "iter_1.pth"), folder / "my-model", **options)
    return (folder / "my-model" / CARD).read_text()


def test_a_card_without_a_record_says_so(checkpoint, tmp_path):
    text = card(checkpoint, tmp_path, licence="CC BY 4.0")
    assert "Licence of the data: CC BY 4.0." in text
    assert "No record of its training is here" in text
    assert 'psa_seg.load("my-model")' in text


def test_the_card_is_made_from_the_record(checkpoint, tmp_path):
    write(tmp_path / "record.json", record(seed=0, share=60, max_iterations=STEPS))
    text = card(checkpoint, tmp_path)
    score = record(seed=0, share=60, max_iterations=STEPS).figure()
    assert f"Score: mIoU {score:.2f} (one seed, 0, and so no interval)" in text
    assert "Data: invented, 367 training and 101 validation images." in text
    assert "16 of 16 steps of 8 images 256x256, SGD, float32" in text
    assert "| never | absent |" in text
    assert "not stated: ask" not in text, "synthetic scenes are this package's own"


def test_a_record_of_another_step_is_not_this_checkpoints(checkpoint, tmp_path):
    write(tmp_path / "record.json", record(seed=0, max_iterations=2 * STEPS))
    assert "No record of its training is here" in card(checkpoint, tmp_path)


def test_other_seeds_give_an_interval(checkpoint, tmp_path):
    write(tmp_path / "record.json", record(seed=0, share=60, max_iterations=STEPS))
    others = tmp_path / "records"
    others.mkdir()
    for seed, share_of in enumerate((60, 61, 64)):
        write(others / f"{seed}.json", record(seed=seed, share=share_of, max_iterations=STEPS))
    write(others / "another.json", record("SE", seed=3, share=90))
    elsewhere = record(seed=4, share=90, max_iterations=STEPS)
    write(others / "elsewhere.json", replace(elsewhere, data_hash="of other images"))
    text = card(checkpoint, tmp_path, records=others)
    values = [record(share=each, max_iterations=STEPS).figure() for each in (60, 61, 64)]
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(values), scipy.stats.sem(values))
    assert f"mIoU {np.mean(values):.2f} [{low:.2f}, {high:.2f}], mean of 3 seeds (0, 1, 2)" in text


def test_what_is_there_stays(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="out exists already, and is not touched"):
        share(str(checkpoint), tmp_path / "out")
    with pytest.raises(UserError, match=r"no record\.json beside the checkpoint"):
        share(str(checkpoint), tmp_path / "new", records=tmp_path)
    assert not (tmp_path / "new").exists()


def test_the_hub(folder, monkeypatch, tmp_path, segmenter):
    """A name that is no path here; what its library cannot do is told."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def download(name, allow_patterns):
        asked.append((name, tuple(allow_patterns)))
        if name == "some/other":
            raise OSError("404 Client Error\nand much more")
        return str(folder)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=download))
    assert psa_seg.load("some/model").names == segmenter.names
    assert asked == [("some/model", ("model.safetensors", "config.json"))]
    with pytest.raises(UserError, match=r"not found, here or on the .* Hub: some/other(.|\n)*404"):
        psa_seg.load("some/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        psa_seg.load("some/model")
    for local in ("work/iter_1.pth", str(tmp_path / "gone")):
        with pytest.raises(UserError, match="checkpoint not found: "):
            psa_seg.load(local)


def test_broken_folders_are_told(folder, tmp_path):
    for name, content, reason in (
        ("a", b"no tensors", "checkpoint cannot be read"),
        ("b", None, r"is a folder without model\.safetensors"),
    ):
        (tmp_path / name).mkdir()
        if content:
            (tmp_path / name / "model.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=reason):
            psa_seg.load(tmp_path / name)
    told = json.loads((folder / "config.json").read_text())
    (tmp_path / "c").mkdir()
    (tmp_path / "c/model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not tell the config"):
        psa_seg.load(tmp_path / "c")
    (tmp_path / "c/config.json").write_text(json.dumps(told | {"psa_seg": 2}))
    with pytest.raises(UserError, match="is of version 2"):
        psa_seg.load(tmp_path / "c")
    (tmp_path / "c/config.json").write_text(json.dumps(told)[:100])
    with pytest.raises(UserError, match=r"cannot be read: .*config.json(.|\n)*copy it again"):
        psa_seg.load(tmp_path / "c")
    attack = {"type": "os.system", "command": "true"}
    told["cfg"]["model"]["decode_head"] = attack
    (tmp_path / "c/config.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"what is not registered here: os\.system"):
        psa_seg.load(tmp_path / "c")


def test_tuples_survive(tmp_path):
    meta = {"cfg": {"a": (1, [2, (3,)]), "b": {"c": None}}}
    shared.write(tmp_path, {"w": torch.arange(4)[::2]}, meta)
    found = shared.read(tmp_path / shared.WEIGHTS)
    assert found["meta"]["cfg"] == meta["cfg"]
    assert found["state_dict"]["w"].tolist() == [0, 2]
