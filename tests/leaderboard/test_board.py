"""What is compared with what, and how it is told: on invented records."""

import csv
import io
import statistics
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from psa_seg.errors import UserError
from psa_seg.leaderboard import markdown, published, read_boards
from psa_seg.leaderboard import write as write_page
from psa_seg.leaderboard.table import to_csv
from psa_seg.records import write
from tests.leaderboard import invented


def read(folder, **changes):
    return read_boards(str(invented.write_all(folder, **changes))).boards


def test_the_table_is_of_the_last_iteration_and_says_what_the_seeds_say(tmp_path):
    (board,) = read(tmp_path)
    assert list(board.models) == ["PSA parallel", "SE", "none"], "the highest mean first"

    def last(label, seed):
        counts = np.array(board.models[label].runs[seed].last.confusion)
        right, union = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
        return float(100 * np.mean(right[:3] / union[:3]))  # no pixel of the fourth class

    psa, none = ([last(label, seed) for seed in range(3)] for label in ("PSA parallel", "none"))
    row = markdown([board]).splitlines()[4].split(" | ")
    assert row[:3] == [
        "| PSA parallel",
        f"{statistics.mean(psa):.2f} ± {statistics.stdev(psa):.2f}",
        "3",
    ]
    test = stats.ttest_rel(psa, none)
    low, high = test.confidence_interval()
    assert row[3] == f"{np.mean(psa) - np.mean(none):+.2f} [{low:+.2f}, {high:+.2f}]"
    assert row[6] == "better"
    assert board.comparisons["SE"].verdict == "no significant difference"
    assert board.comparisons["PSA parallel"].p == pytest.approx(2 * test.pvalue), "Holm, of two"
    assert row[-2] == "1.10 x"


def test_names_are_no_marks_and_no_html(tmp_path):
    """They come from records, and these from anybody."""
    said = "<img src=x onerror=alert(1)> | [a](b) `c` *d*\n# e"
    text = markdown(read(tmp_path, data=said, backbone=said))
    title = text.splitlines()[0]
    assert "&lt;img src=x onerror=alert(1)&gt; \\| \\[a\\](b) \\`c\\` \\*d\\* # e" in title
    assert "<img" not in text


def test_only_runs_of_one_setting_share_a_board(tmp_path):
    read(tmp_path / "a")
    read(tmp_path / "b", setting="another schedule")
    read(tmp_path / "c", data_hash="another split")
    boards = read(tmp_path / "d", exploratory=True)
    assert len(boards) == 1
    boards = read_boards(str(tmp_path)).boards
    assert len(boards) == 4
    assert [board.exploratory for board in boards] == [False, False, False, True]
    assert "(exploratory)" in markdown(boards[-1:])


def test_a_search_is_compared_with_the_settled_baseline(tmp_path):
    invented.write_all(tmp_path / "a")
    for seed in range(2):
        made = invented.record("SE", seed, 70.0, exploratory=True)
        write(tmp_path / f"{seed}.json", made)
    search = read_boards(str(tmp_path)).boards[1]
    assert list(search.models) == ["SE"]
    assert search.comparisons["SE"].seeds == (0, 1)


def test_classes_are_compared_over_shared_seeds(tmp_path):
    invented.write_all(tmp_path)
    (tmp_path / "PSA parallel 0.json").unlink()
    (board,) = read_boards(str(tmp_path)).boards
    psa, none = (board.models[label].scores() for label in ("PSA parallel", "none"))
    difference = statistics.mean(psa[seed] - none[seed] for seed in (1, 2))
    found = board.class_differences("PSA parallel")
    assert found[:3] == pytest.approx([difference] * 3), "three classes that are alike"
    assert np.isnan(found[3])


def test_without_a_baseline_nothing_is_compared(tmp_path):
    write(tmp_path / "1.json", invented.record("SE"))
    (board,) = read_boards(str(tmp_path)).boards
    assert board.comparisons == {}
    assert "difference" not in markdown([board]).splitlines()[2]
    assert "| SE | 42.86 ± ? | 1 | 5.20 M |" in markdown([board])


def test_a_class_that_never_occurs_is_no_crash(tmp_path):
    invented.write_all(tmp_path, score="never IoU")
    boards = read_boards(str(tmp_path)).boards
    assert "| ? ± ? | 3 | ? [?, ?] | ? | ? | not tested |" in markdown(boards)
    write_page(str(tmp_path), str(tmp_path / "out"), False)


def test_models_are_compared_by_the_score_of_their_experiment(tmp_path):
    (mean,) = read(tmp_path / "a")
    (board,) = read(tmp_path / "b", score="car IoU")
    model = board.models["SE"]
    expected = [run.last.scores()["IoU"][1] for run in model.runs.values()]
    assert list(model.scores().values()) == expected
    assert "| attention | car IoU | seeds |" in markdown([board])
    assert mean.about.score == "mIoU"


def test_further_scores_stand_where_all_runs_have_them(tmp_path):
    last = invented.record().last
    parts = np.sum(last.confusion, 0), np.diag(last.confusion), np.sum(last.confusion, 1)
    f1 = tuple((p, r, t, r) for p, r, t in zip(*(each.tolist() for each in parts), strict=True))
    counted = replace(last, f1=f1)
    for label in ("none", "SE"):
        made = invented.record(label, 0, score="car IoU", validations=(counted,))
        write(tmp_path / f"{label}.json", made)
    (board,) = read_boards(str(tmp_path)).boards
    assert board.further == {"car F1 within 2 px": "car F1"}
    assert board.models["SE"].scores("car F1") == {0: pytest.approx(60.0)}
    rows = csv.DictReader(io.StringIO(to_csv([board])))
    assert [float(row["car F1"]) for row in rows] == [60.0, 60.0]
    write(tmp_path / "1.json", invented.record("SE", 1, score="car IoU"))
    assert read_boards(str(tmp_path)).boards[0].further == {}


def test_recipes_of_the_plain_network_share_a_board(tmp_path):
    for index, label in enumerate(["none, lr 0.1", "none, lr 0.2", "none, lr 0.2"]):
        changes = dict(setting=f"s{index}", config_hash=f"c{index}", exploratory=True)
        write(tmp_path / f"{index}.json", invented.record(label, 0, 60 + index, **changes))
    other = dict(setting="s9", config_hash="c9", exploratory=True, backbone="R-18-D8")
    write(tmp_path / "9.json", invented.record("none", 0, **other))
    boards = read_boards(str(tmp_path)).boards
    (board,) = [board for board in boards if board.about.backbone != "R-18-D8"]
    assert list(board.models) == ["none, lr 0.2 (c2)", "none, lr 0.2", "none, lr 0.1"]
    assert board.title.endswith("recipes for the plain network, 300 steps")
    assert board.comparisons == {}
    shorter = changes | dict(setting="s3", config_hash="c3", max_iterations=10)
    write(tmp_path / "3.json", invented.record("none", 0, 50, **shorter))
    assert sorted(len(b.models) for b in read_boards(str(tmp_path)).boards) == [1, 1, 3]
    otherwise = changes | dict(setting="s4", config_hash="c4", optimizer={"type": "AdamW", "lr": 1})
    write(tmp_path / "4.json", invented.record("none, lr 0.2", 0, 70, **otherwise))
    (board,) = [b for b in read_boards(str(tmp_path)).boards if len(b.models) == 4]
    assert "none, lr 0.2 (AdamW)" in board.models


def test_one_seed_tells_nothing(tmp_path):
    for label in ("none", "SE"):
        made = invented.record(label, 0, 60.0 + len(label))
        write(tmp_path / f"{label}.json", made)
    (board,) = read_boards(str(tmp_path)).boards
    assert "[?, ?] | ? | ? | not tested |" in markdown([board])


def test_csv_has_a_row_a_run(tmp_path):
    boards = read(tmp_path)
    rows = list(csv.DictReader(io.StringIO(to_csv(boards))))
    assert len(rows) == 9
    row = next(row for row in rows if (row["attention"], row["seed"]) == ("SE", "2"))
    assert float(row["mIoU"]) == pytest.approx(boards[0].models["SE"].scores()[2], abs=1e-4)


def test_what_stands_on_no_board_is_told(tmp_path):
    """What a work directory holds beside its record, and runs that are not over, stop nothing."""
    invented.write_all(tmp_path)
    records = {
        "unfinished": invented.record("SE", 7, inference=None),
        "cut": invented.record("SE", 8, validations=invented.record().validations[:1]),
        "run/record": invented.record("SE", 9),
    }
    for name, record in records.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / f"{name}.json", record)
    others = ("run/20260101_000000/vis_data/scalars", "run/test/20260101_000000", "trace", "notes")
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.json").write_text('{"step": 1}' if "run" in name else "[1]")
    found = read_boards(str(tmp_path))
    assert sorted(found.boards[0].models["SE"].runs) == [0, 1, 2, 9]
    assert found.left_out == [
        f"no record of a run: {tmp_path}/notes.json",
        f"no record of a run: {tmp_path}/trace.json",
        f"the record of a run that has not ended: {tmp_path}/cut.json",
        f"the record of a run that has not ended: {tmp_path}/unfinished.json",
    ]


def test_of_two_records_of_one_run_the_first_counts(tmp_path):
    """By name, as a run of the same command is numbered; not by its figures."""
    for name, share in (("demo", 60.0), ("demo_2", 70.0), ("demo_10", 80.0)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "record.json", invented.record("none", 0, share))
    found = read_boards(str(tmp_path))
    assert found.boards[0].models["none"].path == tmp_path / "demo/record.json"
    assert [line.rpartition(": ")[2] for line in found.left_out] == [
        f"{tmp_path}/demo_2/record.json",
        f"{tmp_path}/demo_10/record.json",
    ]


def test_records_of_two_versions_share_no_board(tmp_path):
    """Digests of one rule say nothing beside those of another."""
    invented.write_all(tmp_path / "new")
    invented.write_all(tmp_path / "old", version=1)
    boards = read_boards(str(tmp_path)).boards
    assert [board.about.version for board in boards] == [1, 2]
    assert len({board.title for board in boards}) == 2


def test_a_model_is_what_trains_alike_whatever_it_is_called(tmp_path):
    """By hand, and in a sweep: one row. Of one name, two that differ: two rows."""
    invented.write_all(tmp_path)
    write(tmp_path / "a sweep.json", replace(invented.record("SE", 7), label="squeeze"))
    write(tmp_path / "z other.json", invented.record("none", 0, config_hash="other"))
    (board,) = read_boards(str(tmp_path)).boards
    assert {label: sorted(model.runs) for label, model in board.models.items()} == {
        "PSA parallel": [0, 1, 2],
        "SE": [0, 1, 2, 7],
        "none (c-none)": [0, 1, 2],
        "none (other)": [0],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ("road", "car", "sky", "x")},
        {"batch_size": 1},
        {"crop": (8, 8)},
        {"attentions": {"head": {"type": "SE"}}},
        {"parameters": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_records_that_contradict_each_other_are_a_message(tmp_path, changes):
    """Of one setting, or of one model, by their fingerprints: one of the two is not as it was."""
    invented.write_all(tmp_path)
    write(tmp_path / "wrong.json", invented.record("none", 7, **changes))
    name = next(iter(changes))
    with pytest.raises(UserError, match=rf"differ in its {name}\n.*\n.*wrong\.json"):
        read_boards(str(tmp_path))


def test_no_records_is_a_message(tmp_path):
    with pytest.raises(UserError, match="no records"):
        read_boards(str(tmp_path))
    with pytest.raises(UserError, match=r"folder not found: /.*/nowhere"):
        read_boards(str(tmp_path / "nowhere"))


def test_files_of_others_are_not_overwritten(tmp_path):
    records, out = invented.write_all(tmp_path / "records"), tmp_path / "site"
    out.mkdir()
    (out / "index.html").write_text("mine")
    with pytest.raises(UserError, match=r"index\.html is there already"):
        write_page(str(records), str(out), pictures=False)
    assert (out / "index.html").read_text() == "mine"
    for _ in range(2):
        write_page(str(records), str(tmp_path / "new"), pictures=False)


CITYSCAPES = dict(data="Cityscapes", crop=(512, 1024), batch_size=8)


def test_published_figures_stand_beside_their_own_setting_only(tmp_path):
    (board,) = read(tmp_path / "a", **CITYSCAPES, max_iterations=80_000)
    rows = {(r["method"], r["backbone"]): r["mIoU"] for r in published.beside(board)["rows"]}
    assert rows["DeepLabV3+", "R-50-D8"] == 80.09
    (board,) = read(tmp_path / "b", **CITYSCAPES, max_iterations=40_000)
    rows = {(r["method"], r["backbone"]): r["mIoU"] for r in published.beside(board)["rows"]}
    assert rows["DeepLabV3+", "R-50-D8"] == 79.61
    others = [
        {**CITYSCAPES, "max_iterations": 300},
        {**CITYSCAPES, "max_iterations": 80_000, "crop": (768, 768)},
        {**CITYSCAPES, "max_iterations": 80_000, "batch_size": 16},
        {**CITYSCAPES, "max_iterations": 80_000, "optimizer": {"type": "AdamW", "lr": 0.01}},
        {**CITYSCAPES, "max_iterations": 80_000, "exploratory": True},
        {**CITYSCAPES, "max_iterations": 80_000, "score": "car IoU"},
        {"data": "CamVid"},
    ]
    for number, changes in enumerate(others):
        (board,) = read(tmp_path / str(number), **changes)
        assert published.beside(board) is None
