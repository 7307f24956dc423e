"""Records on the disk: read whole and consistent, or refused with one message that names them."""

import copy
import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest

from psa_seg.errors import UserError
from psa_seg.leaderboard import write as write_page
from psa_seg.records import Plan, find, read, write
from psa_seg.records.files import to_plain
from psa_seg.records.scores import scores
from tests.conftest import ROOT
from tests.leaderboard import invented

OURS = sorted((ROOT / "benchmarks/results").rglob("*.json"))


@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_ours_are_read_in_their_version_and_keep_their_digests(path):
    record, written = read(path), json.loads(path.read_text())
    assert record.version == written.get("version", 1)
    assert record.is_complete
    for key in ("config_hash", "setting", "data_hash", "seed", "label", "wall_time_s"):
        assert getattr(record, key) == written[key], key
    assert np.array_equal(record.last.confusion, written["validations"][-1]["confusion"])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("inference", [None, invented.record().inference])
def test_what_is_written_is_read(tmp_path, version, inference):
    record = invented.record("SE", 3, version=version, inference=inference)
    write(tmp_path / "a.json", record)
    assert read(tmp_path / "a.json") == record
    assert record.is_complete == (inference is not None)


def test_an_optional_entry_more_leaves_old_records_readable(tmp_path):
    """`start` came with version 2; a file of version 2 without it is one, too."""
    plain = to_plain(invented.record())
    del plain["start"]
    (tmp_path / "a.json").write_text(json.dumps(plain))
    assert read(tmp_path / "a.json") == invented.record()


WRONG = {
    "seed": ("0", "seed must be a whole number, and is '0'"),
    "exploratory": (0, "exploratory must be true or false"),
    "setting": (None, "setting must be a text"),
    "label": ("", "label must not be empty"),
    "parameters": (True, "parameters must be a whole number"),
    "wall_time_s": (float("nan"), "wall_time_s must be a number"),
    "inference": ({}, "it has no inference.size"),
    "classes": (["a", "a", "b", "c"], "two classes have one name"),
    "attempts": ([], "attempts must not be empty"),
    "attentions": ({"head": {"layout": "parallel"}}, "attentions.head has no type"),
    "crop": ([256], "crop must be rows and columns"),
    "mIoU": (99.0, "mIoU is not what its counts give"),
    "IoU": ({"road": 1.0}, "IoU is not what its counts give"),
    "version": (3, "version 3 is not one of 1 to 2: update psa_seg"),
    "inference.GFLOPs": (-1.0, "inference.GFLOPs must be at least 0"),
    "attempts.0.from_step": (-1, "attempts.0.from_step must be at least 0"),
    "attempts.0.commit": ("", "attempts.0.commit must not be empty"),
    "attentions.": ({"type": "SE"}, "attentions has a placement without a name"),
    "optimizer.lr": (float("nan"), "optimizer.lr must be a text or a number that can"),
    "config_hash": ("\ud800", "config_hash must be a text, and is '\\ud800'"),
    "train_images": (10**400, "train_images must be a whole number"),
    "labels": ("SE", "labels is no entry of a record"),
}


@pytest.mark.parametrize("key", WRONG)
def test_an_entry_that_is_wrong_is_named(tmp_path, key):
    value, message = WRONG[key]
    path = tmp_path / "wrong.json"
    plain = json.loads(json.dumps(to_plain(invented.record("SE"))))
    *outer, last = key.split(".")
    node = plain
    for name in outer:
        node = node[int(name) if name.isdecimal() else name]
    node[last] = value
    path.write_text(json.dumps(plain))
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        read(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        ([[1, 2], [3, 4]], "validations.1.confusion is not of 4 classes"),
        ([[1] * 4] * 3, "validations.1.confusion must be square"),
        ([[-1] * 4] * 4, "validations.1.confusion must count pixels"),
        ([[1.5] * 4] * 4, "validations.1.confusion.0.0 must be a whole number"),
        ([[0] * 4] * 4, "validations.1.confusion counts no pixel"),
        ([[2**62] * 4] * 4, "validations.1.confusion counts more pixels"),
        ("many", "validations.1.confusion must be a list"),
    ],
)
def test_counts_that_are_none(tmp_path, confusion, message):
    plain = json.loads(json.dumps(to_plain(invented.record())))
    plain["validations"][1]["confusion"] = confusion
    (tmp_path / "wrong.json").write_text(json.dumps(plain))
    with pytest.raises(UserError, match=message):
        read(tmp_path / "wrong.json")


def counted(record):
    """The record, with further scores that fit its confusion matrices."""
    last = []
    for validation in record.validations:
        matrix = np.array(validation.confusion)
        sums = [part.tolist() for part in (matrix.sum(0), np.diag(matrix), matrix.sum(1))]
        pixels = int(matrix.sum())
        more = dict(
            boundary=[[1, 2]] * 3 + [[0, 0]],
            f1=[[p, r, t, t] for p, r, t in zip(*sums, strict=True)],
            calibration=[[0, 0, 0]] * 14 + [[pixels, int(np.trace(matrix)), pixels * 2**16]],
        )
        last.append(replace(validation, **{k: tuple(map(tuple, v)) for k, v in more.items()}))
    return replace(record, validations=tuple(last))


def test_further_scores_are_written_and_read(tmp_path):
    plan = Plan(seeds=(0, 1), comparisons=("SE",))
    record = replace(counted(invented.record()), score="car F1", plan=plan)
    write(tmp_path / "a.json", record)
    assert read(tmp_path / "a.json") == record
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["F1"]["car"] == pytest.approx(record.figure(), abs=1e-4)
    assert written["mBIoU"] == 50.0
    assert written["F1"]["never"] is None
    assert record.figure("ECE") == pytest.approx(written["ECE"], abs=1e-4)
    plain = json.loads(json.dumps(to_plain(invented.record())))
    assert not {"boundary", "f1", "calibration"} & plain["validations"][0].keys()


@pytest.mark.parametrize(
    ("name", "row", "column", "value", "message"),
    [
        ("boundary", 0, 0, 3, "boundary has more pixels in both bands than in either"),
        ("boundary", 0, 1, 10**12, "boundary has more pixels in bands than their classes have"),
        ("boundary", 3, None, [1, 1], "boundary has more pixels in bands than their classes have"),
        ("boundary", 0, None, [1], "boundary must be 4 rows of 2"),
        ("f1", 1, 0, 5, "f1 is not of the confusion's pixels"),
        ("f1", 1, 1, 10**9, "f1 has more pixels right than there are"),
        ("f1", 1, 1, 0, "f1 has less pixels right than the confusion"),
        ("f1", 1, 3, 0, "f1 has less pixels right than the confusion"),
        ("calibration", 0, 0, 1, "calibration is of other pixels"),
        ("calibration", 14, 1, 0, "calibration is of other pixels"),
        ("calibration", 0, 2, 1, "calibration has more pixels right, or another confidence"),
        ("calibration", 14, 2, 2**60, "calibration has more pixels right, or another confidence"),
        ("calibration", 14, 2, 2**16, "calibration has more pixels right, or another confidence"),
        ("calibration", 0, 0, -1, "calibration must count pixels"),
    ],
)
def test_further_scores_that_contradict_are_named(tmp_path, name, row, column, value, message):
    plain = json.loads(json.dumps(to_plain(counted(invented.record()))))
    rows = plain["validations"][1][name]
    if column is None:
        rows[row] = value
    else:
        rows[row][column] = value
    (tmp_path / "wrong.json").write_text(json.dumps(plain))
    with pytest.raises(UserError, match=re.escape(message)):
        read(tmp_path / "wrong.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "bus IoU"}, "score 'bus IoU' is none of"),
        ({"score": "mF1"}, "validations.0 has no f1, which score is of"),
        ({"plan": {"seeds": [1, 2]}}, "plan.seeds do not have seed 0"),
        ({"plan": {"seeds": [0, 0]}}, "plan.seeds must differ"),
        ({"plan": {"seeds": [0], "comparisons": ["a", "a"]}}, "plan.comparisons must differ"),
        ({"plan": []}, "plan must be"),
    ],
)
def test_a_plan_or_score_that_cannot_be_is_named(tmp_path, changes, message):
    plain = json.loads(json.dumps(to_plain(invented.record()))) | changes
    (tmp_path / "wrong.json").write_text(json.dumps(plain))
    with pytest.raises(UserError, match=re.escape(message)):
        read(tmp_path / "wrong.json")


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "\x00", '{"validations": [], "validations": 1}']
)
def test_half_a_file_is_a_message(tmp_path, text):
    (tmp_path / "half.json").write_text(text)
    with pytest.raises(UserError, match=r"record cannot be read: .*half\.json"):
        read(tmp_path / "half.json")


VALUES = (None, {}, [], "0", "x", 0, -1, 1.5, True, float("nan"), [[]], {"a": 1}, 10**400, "\ud800")


def places(node, path=()):
    if path:
        yield path
    if isinstance(node, dict | list):
        keys = node if isinstance(node, dict) else range(len(node))
        for key in keys:
            yield from places(node[key], (*path, key))


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_swapped_values_give_a_board_or_one_message(tmp_path, seed):
    """500 each of a record of today, of version 1, and of one of ours; nothing is a traceback."""
    plains = [
        to_plain(invented.record("SE", 1)),
        to_plain(invented.record("SE", 1, version=1)),
        json.loads(OURS[0].read_text()),
    ]
    rng, plain = random.Random(seed), json.loads(json.dumps(plains[seed]))
    (tmp_path / "records").mkdir()
    write(tmp_path / "records/none.json", invented.record())
    spots, outcomes = sorted(places(plain), key=str), []
    for _ in range(500):
        swapped = copy.deepcopy(plain)
        *outer, last = rng.choice(spots)
        node = swapped
        for key in outer:
            node = node[key]
        node[last] = rng.choice(VALUES)
        (tmp_path / "records/swapped.json").write_text(json.dumps(swapped))
        try:
            write_page(str(tmp_path / "records"), str(tmp_path / "out"), pictures=True)
            outcomes.append("a board")
        except UserError as error:
            outcomes.append(str(error))
    assert all("swapped.json" in outcome for outcome in outcomes if outcome != "a board")
    assert 0 < outcomes.count("a board") < len(outcomes)


def test_no_record_is_passed_over_in_silence(tmp_path):
    """Beside a run's own files, in folders named by a date, behind links; or there is a message."""
    for name in ("run/record", "run/other", "20260101_000000/record", "vis_data/mine"):
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / f"here/{name}.json", invented.record(name))
    (tmp_path / "here/back").symlink_to(tmp_path / "here")
    write(tmp_path / "elsewhere.json", invented.record("linked"))
    (tmp_path / "here/linked.json").symlink_to(tmp_path / "elsewhere.json")
    (tmp_path / "here/folder.json").mkdir()
    found = find(tmp_path / "here")
    labels = {"run/record", "run/other", "20260101_000000/record", "vis_data/mine", "linked"}
    assert {record.label for record in found.records.values()} == labels
    assert found.others == [tmp_path / "here/folder.json"]
    (tmp_path / "here/run/record.json").write_text("{}")
    with pytest.raises(UserError, match=r"run/record\.json"):
        find(tmp_path / "here")
    (tmp_path / "here/run/record.json").unlink()
    (tmp_path / "elsewhere.json").unlink()
    with pytest.raises(UserError, match=r"linked\.json"):
        find(tmp_path / "here")


def test_no_pixel_is_no_score(recwarn):
    figures = scores(np.zeros((3, 3), int))
    assert all(np.isnan(value).all() for value in figures.values())
    assert not recwarn.list
