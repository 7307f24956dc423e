"""A run is a function of its config and seed, wherever and in however many attempts."""

import itertools

import pytest
import torch

from psa_seg.engine.doctor import environment
from psa_seg.engine.runner import PairedRunner
from psa_seg.errors import UserError
from tests.conftest import train
from tests.engine.two_processes import weights
from tests.quick import CROPS

NAME = "psa_deeplabv3plus_cityscapes"


def crops(runner, count=3):
    loader = iter(runner.train_dataloader)
    return [image for _ in range(count) for image in next(loader)["inputs"]]


def equal(first, second):
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, second, strict=True))


def built(config):
    runner = PairedRunner.from_cfg(config)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    return runner


def test_crops_do_not_depend_on_the_number_of_workers(tiny):
    alone = crops(built(tiny(NAME)))
    workers = crops(built(tiny(NAME, **{"train_dataloader.num_workers": 2})))
    assert equal(alone, workers)
    assert not equal(alone, crops(built(tiny(NAME, **{"randomness.seed": 1}))))


def test_an_image_is_cropped_anew_in_each_epoch(tiny):
    images = crops(built(tiny(NAME, **{"train_dataloader.dataset.indices": 1})), count=2)
    assert not any(equal([a], [b]) for a, b in itertools.combinations(images, 2))


def test_an_interrupted_run_ends_as_an_uninterrupted_one_in_bfloat16(tiny, tmp_path, monkeypatch):
    """In float32: tests/engine/test_signals.py, and tests/engine/test_faults.py."""
    monkeypatch.setattr(environment, "has_bfloat16", lambda: True)  # slow without, and the same
    ended = []
    after = PairedRunner.train
    monkeypatch.setattr(PairedRunner, "train", lambda self: (after(self), ended.append(self)))
    options = {
        "param_scheduler.0.end": 2,
        "custom_hooks": [],
        "optim_wrapper.type": "CPUAmpOptimWrapper",
    }
    options |= CROPS | {"val_dataloader.dataset.indices": 1}

    def run(folder, iterations):
        config = tiny(NAME, **options, **{"train_cfg.max_iters": iterations})
        config.work_dir, config.resume = str(tmp_path / folder), True
        train(config)
        return ended[-1]

    whole = weights(run("whole", 2))
    run("parts", 1)
    (tmp_path / "parts").rename(tmp_path / "moved")  # to another disk, say
    path = tmp_path / "moved/iter_1.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["meta"]["config"] = "raise SystemExit('run')"  # as mmengine's `resume` would run it
    torch.save(checkpoint, path)
    runner = run("moved", 2)
    for name, value in weights(runner).items():
        assert torch.equal(value, whole[name]), name
    losses, _ = runner.message_hub.get_scalar("train/loss").data
    assert len(losses) == 2


def test_another_loop_is_refused(tiny):
    config = tiny(NAME)
    config.train_cfg = dict(type="IterBasedTrainLoop", max_iters=2)
    with pytest.raises(UserError, match="ReplayableTrainLoop"):
        train(config)


def test_another_sampler_is_refused(tiny):
    config = tiny(NAME, **{"train_dataloader.sampler": dict(type="InfiniteSampler")})
    with pytest.raises(UserError, match="NumberedSampler"):
        built(config)
