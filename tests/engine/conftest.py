"""What tests of the engine share: a dozen drawn images, and tools that are called."""

import sys

import pytest

from tests.datasets.own import draw

QUICK = {
    "train_dataloader.batch_size": 2,
    "train_cfg.max_iters": 2,
    "train_cfg.val_interval": 2,
    "custom_hooks.0.samples": 1,
    **{f"{loader}_dataloader.num_workers": 0 for loader in ("train", "val", "test")},
}


@pytest.fixture
def drawn(tmp_path):
    return draw(tmp_path / "own")


@pytest.fixture
def call(monkeypatch, tmp_path):
    """A function: run a tool's main in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(tool, *arguments, **options):
        pairs = [f"{key}={value}" for key, value in (QUICK | options).items()]
        monkeypatch.setattr(sys, "argv", ["tool", *arguments, "--cfg-options", *pairs])
        tool.main()

    return call
