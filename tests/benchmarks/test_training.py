"""The benchmark of a training step: both sides have the same losses, or there are no figures."""

import itertools

import pytest

from benchmarks import training


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(training, "SIZE", (72, 96))
    monkeypatch.setattr(training, "IMAGES", 8)


def test_both_sides_train_the_same(monkeypatch):
    def in_this_process(module, args, threads, environment):
        side, folder, crop, steps = args
        return training.train(side, training.Path(folder), int(crop), int(steps))

    monkeypatch.setattr(training, "in_a_process", in_this_process)
    three = dict(itertools.islice(training.SIDES.items(), 3))  # the rest: these, in other processes
    monkeypatch.setattr(training, "SIDES", three)
    rows = training.measure([32], rounds=1, steps=4, threads=1)
    upstream, ours, fast = itertools.islice(rows, 3)
    assert [row["side"] for row in (upstream, ours, fast)] == ["upstream", "ours", "ours, --amp"]
    assert (upstream["speed_ratio"], upstream["crop"], fast["dtype"]) == (1, "32x32", "bfloat16")


@pytest.mark.parametrize("step", [(0.01, 0.0), (0.0, 0.1), (0.0, float("nan"))], ids=str)
def test_losses_that_differ_end_it(monkeypatch, step):
    def invented(*_):
        losses = [1 + next(runs) * apart for apart in step]
        return {"step_ms": 1.0, "peak_mib": 1.0, "losses": losses}

    runs = itertools.count()
    monkeypatch.setattr(training, "in_a_process", invented)
    with pytest.raises(
        SystemExit, match=r"losses differ \((ours|upstream)\): there are no figures"
    ):
        list(training.measure([32], rounds=1, steps=4, threads=1))


@pytest.mark.parametrize("wrong", [["--crops", "31"], ["--crops", "64", "0"], ["--steps", "3"]])
def test_what_is_too_small_is_a_message(wrong, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["training", *wrong])
    with pytest.raises(SystemExit, match="2"):
        training.main()
    assert "crops of at least 32 pixels, and 4 steps" in capsys.readouterr().err
