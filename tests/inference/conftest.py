"""A model that was trained for a few steps, once for all tests, and its checkpoint."""

import pytest

import psa_seg
from tests.conftest import small, train

NAME = "psa_deeplabv3plus_r18_cityscapes"
STEPS = 16


@pytest.fixture(scope="session")
def checkpoint(streets, tmp_path_factory):
    """Of the demo's network, with labels of several classes."""
    folder = tmp_path_factory.mktemp("trained")
    options = {
        "train_cfg.max_iters": STEPS,
        "train_cfg.val_interval": STEPS,
        "default_hooks.checkpoint.interval": STEPS,
        "custom_hooks": [],
    }
    train(small(NAME, streets, folder, **options))
    return folder / f"iter_{STEPS}.pth"


@pytest.fixture(scope="session")
def segmenter(checkpoint):
    return psa_seg.load(checkpoint, device="cpu")


@pytest.fixture(scope="session")
def pictures(streets):
    return sorted((streets / "leftImg8bit/val").rglob("*.png"))
