"""Recipes of README and docs, word for word: in the libraries themselves, if they can be installed.

MMDetection, MMPose and MMPreTrain cannot (compiled operators; a dependency without its code): what
they look names up with, and build plugins with, is mmengine's and mmcv's. YOLOv10's is run in
`tests/integrations`.
"""

import re
import subprocess
import sys
from types import SimpleNamespace

import torch
from mmseg.registry import MODELS
from torch import nn

from psa_seg import PolarizedSelfAttention
from psa_seg.engine.config import load_config
from psa_seg.engine.demo import shrink
from psa_seg.models.placement import find
from tests import vision
from tests.conftest import ROOT

PAGES = ("README.md", "docs/attention.md", "docs/configs.md")
TEXT = "".join((ROOT / page).read_text() for page in PAGES)
RECIPES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def recipe(word):
    """The one that has this word in it."""
    (found,) = [text for text in RECIPES if word in text]
    return found


def run(text, **names):
    exec(compile(text, "README.md", "exec"), names)
    return names


def test_plain_pytorch():
    names = run(recipe("import PolarizedSelfAttention, attend_in_blocks"))
    attention, x = names["attention"], torch.randn(1, 256, 3, 4)
    assert attention.form == "official"
    assert attention(x).shape == x.shape


class Bottleneck(nn.Module):
    """As of a ResNet in timm."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(16, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.act2, self.aa = nn.ReLU(), nn.Identity()
        self.conv3, self.bn3, self.act3 = nn.Conv2d(4, 16, 1), nn.BatchNorm2d(16), nn.ReLU()

    def forward(self, x):
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.aa(self.act2(self.bn2(self.conv2(y))))
        return self.act3(self.bn3(self.conv3(y)) + x)


def test_a_network_of_timms_or_torchvisions_kind(monkeypatch):
    network = nn.Sequential(Bottleneck(), Bottleneck()).eval()
    asked = []
    create = SimpleNamespace(create_model=lambda *args, **kw: asked.append(args) or network)
    monkeypatch.setitem(sys.modules, "timm", create)
    plain, x = network.state_dict(), torch.randn(2, 16, 5, 6)
    seen = []
    network[1].conv3.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0]))
    network(x)
    run(recipe("import timm"), **run(recipe("import PolarizedSelfAttention, attend_in_blocks")))
    assert asked == [("resnet50",)]
    assert [type(block.conv3.attention) for block in network] == [PolarizedSelfAttention] * 2
    assert network.load_state_dict(plain, strict=False).unexpected_keys == []
    for block in network:
        block.conv3.attention.sp_wv.bias.data.fill_(2)
    network(x)
    assert not torch.allclose(*seen), "the last convolution is given the attended map"


TIMM = """
import timm
from psa_seg import PolarizedSelfAttention, attend_in_blocks

create = timm.create_model
for name in ("resnet18", "resnet50", "resnext50_32x4d", "hrnet_w18_small", "regnety_002"):
    timm.create_model = lambda *args, **kwargs: create(name)
    exec(sys.argv[1])
    keys = network.load_state_dict(create(name).state_dict(), strict=False)
    seen = []
    for block in network.modules():
        if isinstance(block, PolarizedSelfAttention):
            block.register_forward_hook(lambda module, inputs, out: seen.append(out.shape[2]))
    out = network.eval()(torch.randn(1, 3, 96, 96))
    print(name, len(seen), min(seen), len(keys.missing_keys), keys.unexpected_keys, len(out))

options = dict(attn_layer=PolarizedSelfAttention)  # timm's own way, with device and dtype
network = timm.models.resnet.ResNet(
    timm.models.resnet.BasicBlock, [1, 1, 1, 1], block_args=options, device="meta"
)
print([name for name, m in network.named_modules() if isinstance(m, PolarizedSelfAttention)])

from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

network = resnet18().eval()
attend_in_blocks(network, PolarizedSelfAttention)
extractor, x = create_feature_extractor(network, ["layer2", "fc"]), torch.randn(1, 3, 64, 64)
attentions = [name for name, _ in extractor.named_parameters() if ".attention." in name]
print(len(attentions), torch.equal(extractor(x)["fc"], network(x)))
"""


@vision.needed
def test_timm_and_torchvision_themselves():
    printed = vision.run(TIMM, recipe("import timm"))
    assert printed.splitlines() == [
        "resnet18 8 3 96 [] 1",
        "resnet50 16 3 192 [] 1",
        "resnext50_32x4d 16 3 192 [] 1",
        "hrnet_w18_small 23 3 276 [] 1",
        "regnety_002 13 3 156 [] 1",
        "['layer1.0.se', 'layer2.0.se', 'layer3.0.se', 'layer4.0.se']",
        "96 True",
    ]


def test_mmsegmentation(tmp_path):
    """Pasted into a config file below a base, it trains what it says."""
    base = ROOT / "configs/baseline_deeplabv3plus_cityscapes.py"
    path = tmp_path / "mine.py"
    path.write_text(f'_base_ = ["{base}"]\n{recipe("on the ASPP output")}')
    config = load_config(str(path))
    shrink(config, tmp_path)
    found = find(MODELS.build(config.model))
    assert {
        "neck.attentions.3",
        "decode_head.attention",
        "backbone.layer4.2.conv3.attention",
    } < set(found)
    assert {type(attention) for attention in found.values()} == {PolarizedSelfAttention}


def test_the_whole_config_file(tmp_path):
    text = recipe("psa_seg::baseline")
    (tmp_path / "mine.py").write_text(text)
    config = load_config(str(tmp_path / "mine.py"))
    plain = load_config(text.split('"')[1].removeprefix("psa_seg::"))
    for each in (config, plain):
        shrink(each, tmp_path)
    ours, theirs = (MODELS.build(each.model).state_dict() for each in (config, plain))
    more = ours.keys() - theirs.keys()
    assert theirs.keys() < ours.keys()
    assert {key.partition(".attention.")[0] for key in more} == {"decode_head"}


def test_any_model_of_mmsegmentation(tmp_path):
    (tmp_path / "mine.py").write_text(recipe("mmseg::"))
    config = load_config(str(tmp_path / "mine.py"))
    shrink(config, tmp_path)
    config.model.pretrained = None
    assert list(find(MODELS.build(config.model))) == ["neck.attentions.3"]


OTHERS = """
import sys
from mmengine.registry import MODELS, Registry
from mmengine.utils import import_modules_from_strings
{recipe}
import_modules_from_strings(**custom_imports)
(plugin,) = model["backbone"]["plugins"]
for scope in ("mmdet", "mmpose", "mmpretrain"):  # as these libraries make theirs
    own = Registry("model", parent=MODELS, scope=scope)
    print(own.build(dict(plugin["cfg"], in_channels=4)).in_channels, "mmseg" in sys.modules)
from mmcv.cnn import build_plugin_layer  # by which their ResNets take plugins
name, layer = build_plugin_layer(plugin["cfg"], in_channels=6)
print(name, layer.in_channels, "mmseg" in sys.modules)
"""


def test_other_openmmlab_libraries_find_it_without_mmsegmentation():
    code = OTHERS.format(recipe=recipe("psa_seg.registry"))
    printed = subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True)
    lines = [line for line in printed.splitlines() if "is not installed" not in line]
    assert lines == ["4 False"] * 3 + ["attention 6 False"]
