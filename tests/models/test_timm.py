"""timm's own backbones in MMSegmentation's configs, in a process apart: see tests/vision.py."""

from tests import vision
from tests.conftest import ROOT

TIMM = """
import timm
import torch
from mmseg.registry import MODELS
from psa_seg.engine.config import load_config
from psa_seg.engine.doctor import check_model, has_batch_norm
from psa_seg.engine.explain import register
from psa_seg.models.naming import backbone, decoder
from psa_seg.models.placement import find, placed, without_attention

SMALL = {
    "convnext": dict(depths=(1, 1, 2, 1), dims=(16, 32, 64, 128)),
    "resnet50": dict(layers=(1, 1, 1, 1)),
}
for name in ("convnext_upernet_ade20k", "resnet50_deeplabv3plus_cityscapes"):
    config, plain = (load_config(f"{sys.argv[1]}/{kind}_{name}.py") for kind in ("psa", "baseline"))
    assert without_attention(config.model) == plain.model
    (attention,) = placed(config.model)
    attention = config.model.backbone.attention
    attention.init = "identity"
    register(config)
    assert not check_model(config), check_model(config)  # and nothing is fetched for that
    assert has_batch_norm(config)
    small = SMALL[name.partition("_")[0]]
    for model in (config.model, plain.model):
        model.backbone.update(pretrained=False, drop_path_rate=0.0, **small)
        widths = small.get("dims", (256, 512, 1024, 2048))
        model.decode_head.update(in_channels=widths if "UPer" in model.decode_head.type else 2048)
        model.decode_head.channels = 16
        model.auxiliary_head.update(in_channels=widths[2], channels=16)
        model.data_preprocessor = None
    ours, theirs = MODELS.build(config.model), MODELS.build(plain.model)
    keys = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not keys.unexpected_keys
    found = find(ours)
    assert all(key.startswith(tuple(found)) for key in keys.missing_keys)
    ours.init_weights()  # as a Runner does: the attentions' start is theirs
    theirs.load_state_dict({k: t for k, t in ours.state_dict().items() if k in theirs.state_dict()})
    x = torch.randn(2, 3, 64, 64)
    out = ours.eval()(x)
    assert torch.equal(out, theirs.eval()(x))
    out.sum().backward()
    assert all(p.grad is not None for part in found.values() for p in part.parameters())
    print(decoder(config.model), backbone(config.model), len(found), sorted(found)[0])
exec(sys.argv[2])
"""


@vision.needed
def test_configs_on_timms_backbones():
    lines = (ROOT / "docs/pytorch.md").read_text().partition("import timm\n")[2].partition("```")[0]
    code = "from psa_seg import PolarizedSelfAttention, attend_in_blocks\nimport timm\n" + lines
    lines = vision.run(TIMM, ROOT / "configs/timm", code).splitlines()
    assert [line for line in lines if line.startswith(("UPer ", "DeepLabV3+ "))] == [
        "UPer convnext_tiny 5 backbone.timm_model.stages_0.blocks.0.conv_dw.attention",
        "DeepLabV3+ resnet50 4 backbone.timm_model.layer1.0.conv3.attention",
    ]
