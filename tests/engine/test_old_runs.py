"""What the commit 7efbe3f left: configs, a run cut short, a record. All of it goes on.

`tests/assets/7efbe3f` holds a config with its data, the work directory of its run as a kill after
two of four steps left it, and the record of the same run without the kill.
"""

import shutil

import pytest
from mmseg.registry import MODELS

from psa_seg.engine import prepare
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_checkpoint
from psa_seg.engine.runner import PairedRunner
from psa_seg.leaderboard import read_boards
from psa_seg.records import read
from tests.conftest import ROOT, evaluate, train

OLD = ROOT / "tests/assets/7efbe3f"
LOSSES = [4.117135, 3.361201]  # of the third and fourth step, without the kill


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The folder as a user has it, and is in it."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def test_a_run_cut_short_ends_as_it_would_have_ended(old, monkeypatch):
    ended = []
    after = PairedRunner.train
    monkeypatch.setattr(PairedRunner, "train", lambda self: (after(self), ended.append(self)))
    config = load_config("config.py")
    config.work_dir, config.resume = "work", True
    train(config, must_resume=True)
    losses, _ = ended[0].message_hub.get_scalar("train/loss").data
    assert losses[2:] == pytest.approx(LOSSES, rel=1e-3)
    record, whole = read(old / "work/record.json"), read(old / "ended.json")
    assert record.is_complete
    assert [v.iteration for v in record.validations] == [2, 4]
    assert [attempt.from_step for attempt in record.attempts] == [0, 2]
    known_by = ("version", "config_hash", "setting", "data_hash", "label")
    for name in known_by:
        assert getattr(record, name) == getattr(whole, name), name
    assert record.version == 1, "no digest is invented for it"


def test_it_is_known_for_another_run(old):
    config = load_config("config.py")
    config.work_dir, config.resume = "work", True
    config.model.decode_head.attention.layout = "sequential"
    with pytest.raises(prepare.UserError, match="layout is None there, and 'sequential' here"):
        train(config)


def test_its_checkpoint_is_tested(old, capsys):
    config = load_config("config.py")
    config.experiment_name = "tested"  # two of one name and second share a log
    evaluate(config, "work/iter_2.pth")
    figures = read(old / "ended.json").validations[0].scores()
    assert f"mIoU: {figures['mIoU']:.4f}" in capsys.readouterr().out


def test_its_records_stand_on_a_board_of_their_own(old):
    shutil.rmtree(old / "work")
    (board,) = read_boards(str(old)).boards
    assert board.about.version == 1


def test_attentions_in_blocks_are_read_by_their_former_names(tiny):
    """But a run does not go on with them: they came last in their blocks then."""
    model = tiny("psa_backbone_deeplabv3plus_cityscapes").model
    state = MODELS.build(model).state_dict()
    inside = {name: ".conv3.attention." in name for name in state}
    assert sum(inside.values()) == 16 * 12
    names = sorted(state, key=inside.get)
    former = {name.replace(".conv3.attention.", ".attention."): state[name] for name in names}
    for given in (state, former):
        assert check_checkpoint(model, {"state_dict": given}, "iter_2.pth") == []
    assert check_checkpoint(model, {"state_dict": state}, "iter_2.pth", in_order=True) == []
    (finding,) = check_checkpoint(model, {"state_dict": former}, "iter_2.pth", in_order=True)
    assert "is of an earlier version of psa_seg, which put attentions elsewhere" in finding
