"""What was settled beforehand is tested, all of it, and nothing else: on invented records."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy import stats

from psa_seg import records
from psa_seg.leaderboard import markdown, metafile, read_boards
from psa_seg.leaderboard.finding import findings
from psa_seg.records import Plan, write
from tests.leaderboard import invented


def read(folder, **changes):
    return read_boards(str(invented.write_all(folder, **changes))).boards


def told(board):
    """The one sentence."""
    (sentence,) = findings([board])
    return sentence


PLAN = Plan(seeds=(0, 1, 2), comparisons=("PSA parallel", "SE", "CBAM"))
SE = dict(config_hash="c-SE", attentions={"head": {"type": "SqueezeExcitation"}})


def test_before_all_seeds_are_in_nothing_is_tested(tmp_path):
    """Whoever looks at every seed and stops at a good one finds differences that are none."""
    invented.write_all(tmp_path, plan=PLAN)
    (tmp_path / "SE 1.json").unlink()
    (board,) = read_boards(str(tmp_path)).boards
    assert list(board.comparisons) == ["PSA parallel"]
    rows = {row.split(" | ")[0]: row for row in markdown([board]).splitlines()}
    assert rows["| SE"].split(" | ")[2:7] == ["2 of 3", "", "", "", ""]
    assert "(verdicts corrected for 3 comparisons): PSA parallel +" in told(board)
    assert "Seeds are missing: SE (2 of 3); CBAM (none yet)." in told(board)
    (tmp_path / "none 0.json").unlink()
    (board,) = read_boards(str(tmp_path)).boards
    assert board.comparisons == {}
    assert "nothing is tested yet" in told(board)
    assert "the plain network (2 of 3); SE (2 of 3); CBAM (none yet)." in told(board)


def test_what_is_known_stands_before_what_is_not(tmp_path):
    for steps, setting in ((200, "a"), (300, "b"), (400, "c")):
        invented.write_all(tmp_path / setting, plan=PLAN, max_iterations=steps, setting=setting)
    for path in tmp_path.glob("c/*1.json"):
        path.unlink()
    (tmp_path / "b" / "SE 1.json").unlink()
    boards = read_boards(str(tmp_path)).boards
    assert [board.about.max_iterations for board in boards] == [300, 200, 400]
    longest_known, *_, open_one = boards
    assert list(longest_known.models)[-1] == "SE", "of other seeds than the rest"
    assert open_one.comparisons == {}


@pytest.mark.parametrize("hidden", [False, True])
def test_a_plan_binds_whichever_run_has_it(tmp_path, hidden):
    """Five seeds that are planned for an arm are five for its baseline, too."""
    longer = Plan(seeds=(0, 1, 2, 3, 4), comparisons=("SE",))
    for seed in range(5):
        plan = None if hidden and seed == 0 else longer
        write(
            tmp_path / f"SE {seed}.json", invented.record("SE", seed, 70.0 + seed**1.1, plan=plan)
        )
    for seed in range(3):
        write(tmp_path / f"none {seed}.json", invented.record("none", seed, 60.0 + seed, plan=PLAN))
    (board,) = read_boards(str(tmp_path)).boards
    assert board.comparisons == {}
    for seed in (3, 4):
        write(tmp_path / f"none {seed}.json", invented.record("none", seed, 60.0 + seed))
    (board,) = read_boards(str(tmp_path)).boards
    assert board.comparisons["SE"].seeds == longer.seeds


def test_two_models_of_one_planned_name_are_two_comparisons(tmp_path):
    plan = Plan(seeds=(0, 1, 2), comparisons=("SE",))
    for seed in range(3):
        write(tmp_path / f"none {seed}.json", invented.record("none", seed, 60.0 + seed, plan=plan))
        for index in range(2):
            made = invented.record("SE", seed, 62 + seed**1.1, plan=plan, config_hash=f"c{index}")
            write(tmp_path / f"SE {index} {seed}.json", made)
    (board,) = read_boards(str(tmp_path)).boards
    none = list(board.models["none"].scores().values())
    for label, found in board.comparisons.items():
        se = list(board.models[label].scores().values())
        assert found.p == pytest.approx(2 * stats.ttest_rel(se, none).pvalue)


def test_what_was_planned_together_is_corrected_together(tmp_path):
    """Though CBAM is not there yet: three comparisons, and two of them made."""
    (board,) = read(tmp_path, plan=PLAN)
    psa, none = (board.models[label].scores() for label in ("PSA parallel", "none"))
    p = stats.ttest_rel(list(psa.values()), list(none.values())).pvalue
    assert board.comparisons["PSA parallel"].p == pytest.approx(3 * p)
    for seed in range(3):  # of a later experiment, whose family is its own
        later = Plan(seeds=(0, 1, 2), comparisons=("GC",))
        kind = {"head": {"type": "GlobalContext"}}
        made = invented.record("GC", seed, 60.0 + seed**1.1, plan=later, attentions=kind)
        write(tmp_path / f"GC {seed}.json", made)
    (board,) = read_boards(str(tmp_path)).boards
    gc = list(board.models["GC"].scores().values())
    expected = stats.ttest_rel(gc, list(none.values())).pvalue
    assert board.comparisons["GC"].p == pytest.approx(expected)
    assert board.comparisons["PSA parallel"].p == pytest.approx(3 * p)
    first, second = sorted(findings([board]), key=len, reverse=True)
    assert "(verdicts corrected for 3 comparisons)" in first
    assert ": GC " in second
    assert "corrected" not in second
    assert "CBAM" not in second


def test_records_without_the_plan_take_no_comparison_away(tmp_path):
    """By hand, of another name; of another plain network; of a later plan; in another order."""
    (board,) = read(tmp_path, plan=PLAN)
    expected = board.comparisons
    write(tmp_path / "A hand.json", invented.record("SE by hand", 0, 99.0, **SE))
    write(tmp_path / "A other.json", invented.record("none", 0, 10.0, config_hash="other"))
    later = Plan(seeds=(0, 1, 2, 3, 4), comparisons=("GC",))
    write(tmp_path / "none 3.json", invented.record("none", 3, 10.0, plan=later))
    for seed in range(3):
        path = tmp_path / f"SE {seed}.json"
        turned = Plan(seeds=PLAN.seeds, comparisons=PLAN.comparisons[::-1])
        write(path, replace(records.read(path), plan=turned))
    (board,) = read_boards(str(tmp_path)).boards
    assert board.comparisons == expected
    now, then = findings([board])
    assert "(verdicts corrected for 3 comparisons): PSA parallel +" in now
    assert "Seeds are missing: CBAM (none yet)." in now
    assert "nothing is tested yet" in then
    assert "Seeds are missing: the plain network (4 of 5); GC (none yet)." in then


def test_without_the_plain_network_a_plan_says_so(tmp_path):
    invented.write_all(tmp_path, plan=PLAN)
    for path in tmp_path.glob("none*"):
        path.unlink()
    (board,) = read_boards(str(tmp_path)).boards
    assert "nothing is tested yet. Seeds are missing: the plain network (none yet);" in told(board)


def test_every_figure_is_of_the_planned_seeds(tmp_path):
    (board,) = read(tmp_path, plan=PLAN)
    before = board.models["SE"]
    for label in ("none", "SE"):
        write(tmp_path / f"{label} 9.json", invented.record(label, 9, 10.0))
    (board,) = read_boards(str(tmp_path)).boards
    after = board.models["SE"]
    assert board.comparisons["SE"].seeds == (0, 1, 2)
    assert after.curve() == before.curve()
    assert after.curve()[-1][1] == pytest.approx(after.mean_and_sd()[0])
    np.testing.assert_equal(after.per_class(), before.per_class())


def test_what_has_not_all_its_seeds_is_no_settled_result(tmp_path):
    invented.write_all(tmp_path, plan=PLAN)
    (tmp_path / "SE 1.json").unlink()
    boards = read_boards(str(tmp_path)).boards
    models = yaml.safe_load(metafile.metafile(boards, lambda _: None))["Models"]
    assert len(models) == 2
    assert all(model["Metadata"]["Seeds"] == [0, 1, 2] for model in models)
    assert not any("-se-" in model["Name"] for model in models)
