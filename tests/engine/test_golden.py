"""A golden loss curve: what leaves the mathematics alone leaves it alone.

After a change that is meant to alter training, write it anew: python -m tests.engine.test_golden
"""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from psa_seg.engine.config import load_config, override
from psa_seg.engine.demo import shrink
from psa_seg.engine.runner import PairedRunner
from tests.conftest import ROOT

GOLDEN = ROOT / "tests/assets/golden_loss.json"
STEPS = 20


def draw(root: Path) -> None:
    """Four maps of textured blocks: nothing that a newer drawing library could change."""
    rng = np.random.default_rng(0)
    for number in range(4):
        labels = rng.choice([7, 8, 11, 21, 23, 26], (4, 8)).astype(np.uint8)
        labels = labels.repeat(32, axis=0).repeat(32, axis=1)
        noise = rng.integers(0, 60, (*labels.shape, 3), dtype=np.uint8)
        image = labels[..., None] * np.array([3, 5, 7], np.uint8) + noise
        for split in ("train", "val"):
            stem = f"golden/golden_{number:06}_000000"
            for kind, suffix, array in (
                ("leftImg8bit", "leftImg8bit", image),
                ("gtFine", "gtFine_labelIds", labels),
            ):
                path = root / kind / split / f"{stem}_{suffix}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), array)


def loss_curve(folder: Path) -> list[float]:
    draw(folder / "data")
    config = load_config(str(ROOT / "configs/psa_deeplabv3plus_cityscapes.py"))
    shrink(config, folder / "data")
    options = {
        "work_dir": str(folder / "work"),
        "train_cfg.max_iters": STEPS,
        # A calm curve, or rounding, which differs between processors, would be blown up.
        "optim_wrapper.optimizer": dict(type="SGD", lr=0.003, momentum=0.9),
        "train_dataloader.dataset.pipeline.2.ratio_range": (1.0, 1.0),
        "custom_hooks": [],
        "val_cfg": None,
        "val_dataloader": None,
        "val_evaluator": None,
        "train_dataloader.num_workers": 0,
    }
    override(config, options)
    runner = PairedRunner.from_cfg(config)
    runner.train()
    losses, _ = runner.message_hub.get_scalar("train/loss").data
    return [round(float(loss), 6) for loss in losses]


def test_loss_curve_is_the_golden_one(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    assert sum(golden[-5:]) < sum(golden[:5]), "a curve that learns nothing shows nothing"
    assert loss_curve(tmp_path) == pytest.approx(golden, rel=1e-3)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(json.dumps(loss_curve(Path(folder))) + "\n")
