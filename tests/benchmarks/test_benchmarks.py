"""The benchmarks on toy sizes: what they refuse, what they record, what becomes of it."""

import csv
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import attention, measure, models, speed
from benchmarks.cases import CASES, Case
from psa_seg import PolarizedSelfAttention

FEW = ["copy", "textbook", "ours", "SE"]


def run(module, monkeypatch, tmp_path, *arguments):
    command = [module.__name__, "--device", "cpu", "--rounds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*command, *arguments])
    module.main()
    (path,) = tmp_path.glob("*.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    """All work is done, and takes seven milliseconds; nothing is so large that it must be freed."""
    monkeypatch.setattr(measure, "_on_cpu", lambda work: (work(), 7.0)[1])
    monkeypatch.setattr(attention, "gc", SimpleNamespace(collect=lambda: None))


def test_quantiles_of_known_times():
    assert measure.quantiles(range(9, 0, -1)) == {"p20_ms": 2, "p50_ms": 5, "p80_ms": 8}


def test_times_are_taken_in_turn_after_three_rounds(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(measure, "_on_cpu", lambda work: next(clock))
    prepare = dict.fromkeys("ab", lambda: None)
    assert measure.milliseconds(prepare, 2, "cpu") == {"a": [6, 8], "b": [7, 9]}


def test_a_gpu_sleeps_while_python_launches(monkeypatch):
    launched, hidden = iter([9, 2, 4, 8, 8]), []

    def on_gpu(work, ms):
        hidden.append(ms)
        return 7.0, next(launched)

    monkeypatch.setattr(measure, "_on_gpu", on_gpu)
    assert measure.milliseconds({"a": lambda: None}, 2, "cuda") == {"a": [7, 7]}
    assert hidden == [0, 0, 0, 2, 2]


def attention_rows(monkeypatch, tmp_path, cases):
    arguments = ["--shapes", "2x16x9x14", "--cases", *cases]
    return run(attention, monkeypatch, tmp_path, *arguments)


def test_every_case_and_pass_is_a_row(monkeypatch, tmp_path):
    rows = attention_rows(monkeypatch, tmp_path, FEW)
    passes = ("forward", "backward", "forward_backward", "forward_backward, memory kept")
    expected = [(p, c) for p in passes for c in FEW if p == "forward" or c != "copy"]
    assert [(row["pass"], row["case"]) for row in rows] == expected
    assert {(row["p20_ms"], row["p50_ms"], row["p80_ms"]) for row in rows} == {("7.0",) * 3}
    peaks = {row["case"]: float(row["peak_x"]) for row in rows if row["pass"] == "forward"}
    assert 1 == peaks["copy"] < peaks["SE"] < peaks["ours"] < peaks["textbook"]
    assert {row["torch"] for row in rows} == {version("torch")}
    assert all(row["processor"] and row["date"] for row in rows)


@pytest.mark.parametrize(("wrong", "what"), [("out", "output"), ("w_q", "ch_wq.weight")])
def test_no_figures_on_red(wrong, what, monkeypatch, tmp_path):
    class Wrong(PolarizedSelfAttention):
        def forward(self, x):
            if wrong == "out":
                return 1.001 * super().forward(x)
            self.ch_wq.weight.register_hook(torch.zeros_like)
            return super().forward(x)

    monkeypatch.setitem(CASES, "ours", Case(Wrong, is_psa=True))
    with pytest.raises(SystemExit, match=f"ours, torch.float32: {what} .* off: no figures"):
        attention_rows(monkeypatch, tmp_path, ["ours"])
    assert list(tmp_path.glob("*.csv")) == []


def test_out_of_memory_is_a_result(monkeypatch, tmp_path):
    class Greedy(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError

    monkeypatch.setitem(CASES, "GC", Case(lambda channels: Greedy()))
    rows = attention_rows(monkeypatch, tmp_path, ["copy", "GC"])
    assert {(row["case"], row["result"]) for row in rows} == {
        ("copy", "ok"),
        ("GC", "out of memory"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shapes", "2x16x9"], "'2x16x9' is not BxCxHxW"),
        (["--shapes", "2x15x4x4"], "with C even"),
        (["--device", "cuda"], "PyTorch sees no GPU here"),
        (["--cases", "SE"], "name another folder with --out"),
    ],
)
def test_wrong_options_are_named(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["attention", *arguments])
    with pytest.raises(SystemExit):
        attention.main()
    assert message in capsys.readouterr().err


def test_results_are_not_overwritten(monkeypatch, tmp_path):
    attention_rows(monkeypatch, tmp_path, ["copy"])
    with pytest.raises(SystemExit, match="exists already, and is not overwritten"):
        attention_rows(monkeypatch, tmp_path, ["copy"])


def test_peak_is_what_is_held_at_once():
    def work():
        a = torch.empty(1000)
        b = torch.empty(2000)
        del a
        return b, torch.empty(500)

    assert measure.peak_bytes(work, "cpu") == 4 * 3000


def test_whole_networks(monkeypatch, tmp_path):
    names = {"plain": "baseline", "head": "psa"}
    small = {n: (f"{p}_deeplabv3plus_r18_cityscapes", "ours") for n, p in names.items()}
    monkeypatch.setattr(models, "NETWORKS", small)
    rows = run(models, monkeypatch, tmp_path, "--batch", "2", "--size", "32", "64")
    works = ("training step", "inference")
    assert [(row["work"], row["network"]) for row in rows] == [(w, n) for w in works for n in small]
    assert {row["p50_ms"] for row in rows} == {"7.0"}
    steps, predictions = (
        [int(row["peak_mib"]) for row in rows if row["work"] == work] for work in works
    )
    assert 0 < 2 * max(predictions) < min(steps), "a step keeps maps, and has gradients"


FACTS = {"date": "2000-01-01", "device": "no GPU", "processor": "none", "driver": "1", "torch": "1"}


def invent(tmp_path, name, rows):
    with (tmp_path / f"{name}_gpu_2000-01-01.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *FACTS])
        writer.writeheader()
        writer.writerows(row | FACTS for row in rows)


def test_gpu_tables_of_invented_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setattr(speed, "DOCS", tmp_path)
    assert "not measured yet" in speed.gpu()
    assert "not measured yet" in speed.models() + speed.models("cpu")
    base = {"shape": "8x512x128x256", "dtype": "bfloat16", "result": "ok", "peak_x": "3.5"}
    times = {"copy": (1, 1, 2), "ours": (2, 4, 6), "SE": (2, 2, 4)}
    invent(
        tmp_path,
        "attention",
        [
            *(
                base | {"case": case, "pass": work, "p50_ms": str(time)}
                for case, found in times.items()
                for work, time in zip(
                    ("forward", "backward", "forward_backward"), found, strict=True
                )
            ),
            base | {"case": "Non-local", "pass": "", "result": "out of memory", "p50_ms": ""},
        ],
    )
    table = speed.gpu()
    assert "| **ours** | 2.000 ms | 4.000 ms | 6.000 ms | 1.50 | 1.50 X |" in table
    assert "| Non-local | out of memory |" in table
    assert "| SE | 0.67 |" in table
    assert "75 % (forward) and 67 % (forward + backward) of the bandwidth" in table
    networks = {"plain": ("ok", 100, 1024), "head": ("ok", 103, 2048), "every": ("out of memory",)}
    invent(
        tmp_path,
        "models",
        [
            {"network": name, "work": work, "shape": "8x3x512x1024", "result": found[0]}
            | dict(zip(("p50_ms", "peak_mib"), (*found[1:], "", ""), strict=False))
            for work in ("training step", "inference")
            for name, found in networks.items()
        ],
    )
    table = speed.models()
    assert "| head | 103.0 ms (+3.0 %) | 77.7 | 2.0 GiB (+100.0 %) | 103.0 ms (+3.0 %) |" in table
    assert "| every | out of memory |" in table
    assert [path.name for path in speed.plot()] == ["speed_gpu.png"]
