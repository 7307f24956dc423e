"""Paired starts, and identity starts that survive the Runner."""

import pickle

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import MODELS

from psa_seg.engine.demo import BASE_CHANNELS
from psa_seg.engine.runner import PairedRunner
from psa_seg.errors import UserError
from psa_seg.models.placement import without_attention

IDENTITY = {"type": "PolarizedSelfAttention", "init": "identity"}
BASELINE = "baseline_deeplabv3plus_cityscapes"


def place(model, placement, attention):
    """Put an attention into a plain model's config."""
    if placement == "head":
        model.decode_head.update(type="PolarizedASPPHead", attention=attention)
    elif placement == "neck":
        channels = [4 * BASE_CHANNELS * 2**stage for stage in range(4)]
        model.neck = dict(
            type="PolarizedNeck", in_channels=channels, levels=[0, 3], attention=attention
        )
    else:
        model.backbone.update(type="PolarizedResNetV1c", attention=attention)
    return model


placements = pytest.mark.parametrize("placement", ["head", "neck", "backbone"])


def started(runner):
    """A runner as it is right before its first iteration."""
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner._init_model_weights()
    runner.load_or_resume()
    return runner


def logits(model):
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.eval()(x)


def crops(runner):
    batches = iter(runner.train_dataloader)
    return [image for _ in range(2) for image in next(batches)["inputs"]]


@placements
def test_shared_layers_and_crops_start_equal(tiny, placement):
    attention = {"type": "PolarizedSelfAttention"}
    plain = started(PairedRunner.from_cfg(tiny(BASELINE)))
    plain_crops = crops(plain)
    config = tiny(BASELINE)
    place(config.model, placement, attention)
    assert without_attention(config.model) == tiny(BASELINE).model
    ours = started(PairedRunner.from_cfg(config))
    weights, shared = ours.model.state_dict(), plain.model.state_dict()
    assert len(weights) > len(shared)
    for name, value in shared.items():
        assert torch.equal(weights[name], value), name
    assert all(torch.equal(*pair) for pair in zip(crops(ours), plain_crops, strict=True))
    loader = ours.train_dataloader
    # To a worker that is spawned, as on macOS and Windows, and not forked.
    pickle.dumps((loader.dataset, loader.worker_init_fn, loader.collate_fn))


@placements
@pytest.mark.parametrize("runner_type", [PairedRunner, Runner], ids=["paired", "mmengine"])
def test_identity_start_keeps_a_trained_networks_logits(tiny, tmp_path, placement, runner_type):
    plain = started(Runner.from_cfg(tiny(BASELINE)))
    for parameter in plain.model.parameters():  # "trained": nothing is at its start any more
        torch.nn.init.normal_(parameter, std=0.05)
    torch.save({"state_dict": plain.model.state_dict()}, tmp_path / "plain.pth")
    config = tiny(BASELINE, load_from=str(tmp_path / "plain.pth"))
    place(config.model, placement, IDENTITY)
    model = started(runner_type.from_cfg(config)).model
    assert torch.equal(logits(model), logits(plain.model))


def test_weights_of_another_backbone_are_refused(tiny, tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    config = tiny(BASELINE)
    config.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "other.pth"))
    with pytest.raises(UserError, match="tensors of ResNetV1c are missing"):
        started(PairedRunner.from_cfg(config))


def test_weights_with_another_attention_are_refused(tiny, tmp_path, capsys):
    """A backbone that brings attentions brings all of them: none is left at random, in silence."""
    config = tiny(BASELINE)
    place(config.model, "backbone", {"type": "PolarizedSelfAttention", "form": "official"})
    state = MODELS.build(config.model.backbone).state_dict()
    former = {name.replace("conv3.attention.", "attention."): t for name, t in state.items()}
    torch.save(former, tmp_path / "ours.pth")
    config.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "ours.pth"))
    weights = started(PairedRunner.from_cfg(config)).model.backbone.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())
    assert capsys.readouterr().out.count("load model from") == 1, "of a model and its plain twin"
    config.model.backbone.attention.layout = "sequential"
    with pytest.raises(UserError, match=r"layer1\.0\.conv3\.attention\.conv_up\.0\.weight first"):
        started(PairedRunner.from_cfg(config))
