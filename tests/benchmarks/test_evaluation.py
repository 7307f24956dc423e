"""The benchmark of scoring: both sides agree on small images, or there are no figures."""

import itertools

import pytest

from benchmarks import evaluation


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    def tiny(folder, full=evaluation.tiny):
        config = full(folder)
        config.test_dataloader.dataset.pipeline[1].scale = (256, 128)
        return config

    monkeypatch.setattr(evaluation, "tiny", tiny)
    monkeypatch.setattr(evaluation, "SIZE", (128, 256))


def in_this_process(module, args, threads):
    side, mode, folder = args
    found = evaluation.score(side, mode, evaluation.Path(folder))
    return found | {"peak_mib": 1.0}  # of a process that has held more before, it is none


def test_both_sides_count_the_same(monkeypatch):
    monkeypatch.setattr(evaluation, "in_a_process", in_this_process)
    rows = evaluation.measure(rounds=1, count=2, threads=1)
    upstream, ours = itertools.islice(rows, 2)
    assert (upstream["side"], upstream["mode"], upstream["speed_ratio"]) == ("upstream", "plain", 1)
    assert (ours["side"], ours["mode"], ours["images"]) == ("ours", "plain", "2 of 128x256")


def test_figures_are_medians_and_ratios_to_upstreams(monkeypatch):
    ours = [(5, 30), (4, 9), (6, 20)]
    runs = {"upstream": iter([(2, 90), (1, 80), (9, 10)]), "ours": iter(ours)}
    runs[evaluation.FURTHER] = iter(ours)

    def scripted(module, args, threads):
        side, *_ = args
        return dict(zip(("images_per_s", "peak_mib"), next(runs[side]), strict=True), areas={})

    monkeypatch.setattr(evaluation, "in_a_process", scripted)
    rows = evaluation.measure(rounds=3, count=2, threads=1)
    upstream, ours = itertools.islice(rows, 2)
    assert (upstream["images_per_s"], upstream["peak_mib"]) == (2, 80)
    assert (upstream["speed_ratio"], upstream["memory_ratio"]) == (1, 1)
    assert (ours["images_per_s"], ours["peak_mib"]) == (5, 20)
    assert (ours["speed_ratio"], ours["memory_ratio"]) == (2.5, 0.25)


def test_predictions_that_differ_end_it(monkeypatch):
    areas = iter(range(9))
    found = {"images_per_s": 1.0, "peak_mib": 1.0}
    monkeypatch.setattr(
        evaluation, "in_a_process", lambda *_: found | {"areas": {"right": [next(areas)]}}
    )
    with pytest.raises(SystemExit, match=r"predictions differ \(plain\): there are no figures"):
        list(evaluation.measure(rounds=1, count=2, threads=1))
