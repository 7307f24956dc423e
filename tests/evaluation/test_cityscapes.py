"""Cityscapes' own evaluator against the metrics of the package and of MMSegmentation."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import save_checkpoint
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS

from psa_seg.datasets.labels import CLASSES, LABEL_ID_OF, TRAIN_ID_OF
from psa_seg.errors import DataError, UserError
from psa_seg.evaluation import CityscapesPixelMetric, ConfusionMetric, cityscapes
from tests import conftest
from tests.together import together

pytest.importorskip("cityscapesscripts")
MEANS = {f"cityscapes/{name}" for name in ("IoU_class", "IoU_category")}
INSTANCE_MEANS = {f"cityscapes/i{name.partition('/')[2]}" for name in MEANS}


def samples_of(streets):
    """Random predictions, mostly right, over the synthetic validation set."""
    for path in sorted(streets.glob("gtFine/val/*/*_labelIds.png")):
        truth = torch.from_numpy(TRAIN_ID_OF[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)])[None]
        guess = torch.randint(19, truth.shape, dtype=torch.int16)
        sure = (torch.rand(truth.shape) < 0.6) & (truth != 255)
        yield {
            "pred_sem_seg": {"data": torch.where(sure, truth, guess)},
            "gt_sem_seg": {"data": truth},
            "seg_map_path": str(path),
        }


@pytest.fixture
def samples(streets):
    return list(samples_of(streets))


def evaluate(metric, samples, size=None):
    metric.dataset_meta = {"classes": CLASSES}
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(size or len(samples))


def test_counts_are_those_of_both_other_metrics(samples):
    official, ours, upstream = CityscapesPixelMetric(), ConfusionMetric(), IoUMetric()
    figures, own = evaluate(official, samples), evaluate(ours, samples)
    for sample in samples:
        upstream.dataset_meta = {"classes": CLASSES}
        upstream.process({}, [sample])

    counts = official.confusion[np.ix_(LABEL_ID_OF, LABEL_ID_OF)]
    assert np.array_equal(counts, ours.confusion)
    right, union, predicted, truth = (sum(areas) for areas in zip(*upstream.results, strict=True))
    assert np.array_equal(np.diag(counts), right)
    assert np.array_equal(counts.sum(0), predicted)
    assert np.array_equal(counts.sum(1), truth)
    assert np.array_equal(counts.sum(0) + counts.sum(1) - np.diag(counts), union)
    assert official.confusion.sum() == sum(s["gt_sem_seg"]["data"].numel() for s in samples)

    assert figures.keys() == MEANS | INSTANCE_MEANS
    assert figures["cityscapes/IoU_class"] == pytest.approx(own["mIoU"], rel=1e-12)
    assert figures["cityscapes/IoU_category"] > own["mIoU"]


def test_figures_are_what_the_script_says_of_files(samples, tmp_path):
    """Of the same predictions as PNGs, in a process that knows nothing of the package."""
    for sample in samples:
        labels = LABEL_ID_OF[sample["pred_sem_seg"]["data"][0].numpy()]
        frame = Path(sample["seg_map_path"]).name.removesuffix("_gtFine_labelIds.png")
        cv2.imwrite(str(tmp_path / f"{frame}_x.png"), labels)
    program = (
        "import sys, glob, os\n"
        "from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as e\n"
        "e.args.quiet, e.args.JSONOutput, e.args.predictionPath = True, False, sys.argv[1]\n"
        "truths = sys.argv[2:]\n"
        "found = e.evaluateImgLists([e.getPrediction(e.args, t) for t in truths], truths, e.args)\n"
        "print(*(repr(float(v)) for k, v in found.items() if k.startswith('average')))\n"
    )
    truths = [sample["seg_map_path"] for sample in samples]
    command = [sys.executable, "-c", program, str(tmp_path), *truths]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    figures = evaluate(CityscapesPixelMetric(), samples)
    order = ("IoU_class", "iIoU_class", "IoU_category", "iIoU_category")
    assert [figures[f"cityscapes/{name}"] for name in order] == [
        100 * float(value) for value in done.stdout.split()
    ]


def test_without_instances_the_others_remain_and_one_line_says_why(samples, tmp_path, monkeypatch):
    printed = []
    monkeypatch.setattr(cityscapes, "print_log", lambda text, **_: printed.append(text))
    bare = tmp_path / "a_gtFine_labelIds.png"
    bare.write_bytes(Path(samples[0]["seg_map_path"]).read_bytes())
    mixed = [samples[0] | {"seg_map_path": str(bare)}, samples[1]]
    figures = evaluate(CityscapesPixelMetric(), mixed)
    assert figures.keys() == MEANS
    (line,) = [text for text in printed if "By cityscapesscripts" not in text]
    assert line.startswith("no iIoU: 1 of 2 images have no *_instanceIds.png")
    assert list(tmp_path.iterdir()) == [bare], "nothing is written"


def test_a_second_evaluation_begins_anew(samples):
    metric = CityscapesPixelMetric()
    assert evaluate(metric, samples) == evaluate(metric, samples)
    with pytest.raises(UserError, match="1 images were scored, of a set of 4"):
        evaluate(metric, samples[:1], size=4)


def test_two_processes_count_as_one_does(streets, samples, tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    done = together(script, streets, tmp_path, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = CityscapesPixelMetric()
    figures = evaluate(alone, samples)
    for rank in range(2):
        found = torch.load(tmp_path / f"rank{rank}.pth", weights_only=False)
        assert np.array_equal(found["confusion"], alone.confusion)
        assert found["figures"] == pytest.approx(figures, rel=1e-12)


def test_what_it_cannot_score_is_a_message(samples, tmp_path):
    metric = CityscapesPixelMetric()
    metric.dataset_meta = {"classes": ("sky", "tree")}
    with pytest.raises(UserError, match=r"given +2 classes, sky first"):
        metric.process({}, samples)
    with pytest.raises(UserError, match="the masks are others: a_labelTrainIds"):
        evaluate(metric, [samples[0] | {"seg_map_path": "a_labelTrainIds.png"}])
    small = samples[0] | {"pred_sem_seg": {"data": torch.zeros(1, 2, 2, dtype=torch.int16)}}
    with pytest.raises(DataError, match=r"refuses a mask: .*\n  it is not of the size of"):
        evaluate(metric, [small])
    unknown = tmp_path / "a_labelIds.png"
    cv2.imwrite(str(unknown), np.full((128, 256), 77, np.uint8))
    with pytest.raises(DataError, match=r"\n  ERROR: Unknown label with id 77"):
        evaluate(metric, [samples[0] | {"seg_map_path": str(unknown)}])


def test_a_package_missing_or_broken_is_a_message(monkeypatch):
    remedy = r"pip install 'psa-seg\[cityscapes\]'"
    with monkeypatch.context() as patch:
        patch.delattr(np, "in1d")
        with pytest.raises(UserError, match=f"which numpy .* has not\n.*{remedy}"):
            CityscapesPixelMetric()
    monkeypatch.setitem(sys.modules, "cityscapesscripts.evaluation", None)
    with pytest.raises(UserError, match=f"cannot be loaded\n.*\n.*{remedy}"):
        CityscapesPixelMetric()


def test_a_test_run_prints_them(tmp_path, tiny, capsys):
    config = tiny("psa_deeplabv3plus_cityscapes")
    path = str(tmp_path / "a.pth")
    save_checkpoint({"state_dict": MODELS.build(config.model).state_dict()}, path)
    conftest.evaluate(config, path, official=True)
    printed = capsys.readouterr().out
    for name in MEANS | INSTANCE_MEANS | {"mIoU"}:
        assert f"{name}: " in printed
