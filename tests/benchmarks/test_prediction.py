"""The benchmark of prediction: both sides label small pictures alike, or there are no figures."""

from pathlib import Path

import pytest

from benchmarks import prediction

TINY = {"a network": ("psa_deeplabv3plus_r18_cityscapes", (64, 128), True)}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(prediction, "CASES", TINY)

    def here(module, args, threads):
        side, folder, device = args
        found = prediction.label_all(side, Path(folder), device)
        return found | {"peak_mib": 1.0}  # of a process that has held more before, it is none

    monkeypatch.setattr(prediction, "in_a_process", here)


def test_both_sides_label_alike():
    upstream, ours = prediction.measure(rounds=1, count=2, threads=1, device="cpu")
    assert (upstream["side"], upstream["speed_ratio"]) == ("upstream", 1)
    assert (ours["side"], ours["network"], ours["images"]) == ("ours", "a network", "2 of 64x128")
    assert ours["pixels_differing"] <= prediction.MOST_DIFFERING


def test_labels_that_differ_end_it(monkeypatch):
    monkeypatch.setattr(prediction, "differing", lambda folder: 0.01)
    with pytest.raises(SystemExit, match=r"label maps differ \(a network\): there are no figures"):
        list(prediction.measure(rounds=1, count=2, threads=1, device="cpu"))
