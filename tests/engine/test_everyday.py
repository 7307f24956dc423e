"""Activation checkpointing, logging backends, profiles, and the log's first screen."""

import copy
import json
import platform
import re
import subprocess
import sys

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from psa_seg.engine import options, summary
from psa_seg.engine.flops import count_flops
from psa_seg.engine.memory import checkpoint_activations
from psa_seg.engine.summary import summarize
from psa_seg.errors import UserError
from tests.conftest import train
from tests.engine.test_loop import built
from tests.engine.test_runner import place

NAME = "psa_deeplabv3plus_cityscapes"


def step(backbone, x):
    """Bytes that one forward pass keeps for the backward pass; gradients and buffers after it."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = sum(out.square().mean() for out in backbone(x))
    own = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    loss.backward()
    left = {name: p.grad for name, p in backbone.named_parameters()} | dict(
        backbone.named_buffers()
    )
    return sum(size for address, size in kept.items() if address not in own), left


@pytest.mark.parametrize(
    "name",
    [
        "psa_backbone_deeplabv3plus_cityscapes",
        "baseline_deeplabv3plus_r18_cityscapes",
        "baseline_deeplabv3plus_camvid",
    ],
)
def test_checkpointed_blocks_keep_less_and_do_the_same(tiny, name):
    plain = MODELS.build(tiny(name).model.backbone)  # SyncBN, as on several GPUs
    if "r18" in name:
        plain = revert_sync_batchnorm(plain)
    saving = copy.deepcopy(plain)
    checkpoint_activations(saving)
    x = torch.randn(2, 3, 64, 128)
    bytes_plain, expected = step(plain, x)
    bytes_saving, left = step(saving, x)
    assert bytes_saving < 0.6 * bytes_plain
    assert left.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(left[key], value), key


FAULTS = """
import resource
import torch
from psa_seg.engine.memory import keep_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, and free again
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before, told = faults(), keep_freed()
for _ in range(12):
    faults()
print(before, told, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_a_step_frees_is_there_for_the_next():
    found = subprocess.check_output([sys.executable, "-c", FAULTS], text=True).split()
    before, told, after = found
    assert (told, int(after) < int(before) / 10) == ("True", True), found


def test_a_backbone_without_blocks_is_a_message():
    with pytest.raises(UserError, match="Sequential has no blocks"):
        checkpoint_activations(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)))


def test_flops_are_those_of_the_convolutions_and_products(tiny):
    """Of the attention: three products with x, and the projections; a mean is no product."""
    config = tiny(NAME)
    model = MODELS.build(config.model)
    flops = count_flops(model, (1, 3, 64, 128), mode="tensor")
    channels, pixels = config.model.decode_head.channels, 8 * 16
    products = 2 * channels * pixels * 3  # w_q, the weighted sum, u
    projections = 2 * (2 * channels * channels // 2 * 2)  # ch_wv, ch_wz, sp_wq, sp_wv
    assert flops["decode_head.attention"] == products + projections
    stem = model.backbone.stem[0]
    assert flops["backbone.stem.0"] == 2 * 27 * stem.out_channels * 32 * 64


def test_flops_of_self_attention_are_counted_without_a_gpu(tiny):
    config = tiny(NAME, **{"model.decode_head.attention.type": "MultiHeadSelfAttention"})
    flops = count_flops(MODELS.build(config.model), (1, 3, 64, 128), mode="tensor")
    channels, pixels = config.model.decode_head.channels, 8 * 16
    expected = 2 * (4 * pixels * channels**2 + 2 * pixels**2 * channels)
    assert flops["decode_head.attention"] == expected


def test_flops_that_cannot_be_counted_stop_nothing(tiny, monkeypatch):
    runner = built(tiny(NAME))
    head = runner.model.decode_head
    monkeypatch.setattr(head, "cls_seg", lambda x: x * x.sum().item())  # a value, not a shape
    monkeypatch.setattr(summary, "count_flops", count_flops)
    assert "M parameters, FLOPs not counted forward at 128x256" in summarize(runner)


@pytest.mark.parametrize(
    ("placement", "line"),
    [
        ("head", r"decode_head: 1 x PolarizedSelfAttention \(form='paper', .*\), decode_head"),
        ("neck", r"neck: 2 x PolarizedSelfAttention .*, neck.attentions.0, ..."),
        (
            "backbone",
            r"backbone: 16 x PolarizedSelfAttention .*, backbone.layer1.0.conv3",
        ),
        (None, "attention  none"),
    ],
)
def test_the_first_screen(tiny, placement, line):
    config = tiny("baseline_deeplabv3plus_cityscapes", **{"train_cfg.micro_batch_size": 2})
    if placement:
        place(config.model, placement, {"type": "PolarizedSelfAttention"})
    config.train_dataloader.batch_size = 4
    screen = summarize(built(config))
    for part in (
        line,
        r"model      .*ResNetV1c \+ .*ASPPHead: 0\.\d+ M parameters, 0\.\d GFLOPs forward",
        "data       synthetic street scenes: 10 training images, 19 classes",
        r"4 images a step = 1 process x 2 at once x 2 accumulated; 700 steps = 280",
        r"device     CPU, 1 thread, float32",
        "seed       0",
    ):
        assert re.search(part, screen), part


def test_a_profile_is_a_few_steps_and_a_trace(tiny, tmp_path, capsys):
    config = tiny(NAME, checkpoint_activations=True)
    options.profile(config, 2)
    train(config)
    events = json.loads((tmp_path / "work/trace.json").read_text())["traceEvents"]
    steps = {e["name"] for e in events if str(e.get("name")).startswith("ProfilerStep#")}
    assert steps == {"ProfilerStep#2", "ProfilerStep#3"}
    assert "aten::convolution_backward" in {e.get("name") for e in events}
    assert "aten::" in capsys.readouterr().out
    assert not list((tmp_path / "work").glob("*.pth"))
    with pytest.raises(UserError, match="--profile 0"):
        options.profile(config, 0)


def test_losses_and_scores_go_to_tensorboard(tiny, tmp_path):
    config = tiny(NAME, **{"train_cfg.max_iters": 2, "default_hooks.logger.interval": 1})
    options.log_to(config, ["tensorboard"], "run")
    train(config)
    (file,) = (tmp_path / "work").rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    assert len(events.Scalars("loss")) == 2
    assert len(events.Scalars("mIoU")) == 1


def test_a_backend_that_is_not_installed_is_a_message(tiny, monkeypatch):
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install wandb"):
        options.log_to(tiny(NAME), ["wandb"], "run")
