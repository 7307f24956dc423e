"""segmentation_models_pytorch itself, in a process of its own: see tests/vision.py."""

import re

from tests import vision
from tests.conftest import ROOT

SMP = """
import copy
import io
from functools import partial

import segmentation_models_pytorch as smp
import torch
from psa_seg import PolarizedSelfAttention
from psa_seg.integrations.smp import attend

with torch.no_grad():  # and its encoder's first map has no channels
    attend(smp.Unet("mit_b0", encoder_weights=None), PolarizedSelfAttention, "skips")
U = ("Unet", "UnetPlusPlus", "Linknet")
OTHERS = ("FPN", "PSPNet", "DeepLabV3Plus", "PAN")
x = torch.randn(1, 3, 128, 128)


def made(name, **options):
    return getattr(smp, name)("mobilenet_v2", encoder_weights=None, classes=2, **options).eval()


def ours(model):
    return [part for part in model.modules() if isinstance(part, PolarizedSelfAttention)]


def masks(model):
    out = model(x)
    return out[0] if isinstance(out, tuple) else out


scse, classified = dict(decoder_attention_type="scse"), dict(aux_params=dict(classes=3))
several = [*((name, {}) for name in (*U, *OTHERS)), ("Unet", scse), ("FPN", classified)]
for name, options in several:
    plain, model = made(name, **options), made(name, **options)
    at = ["bottleneck"] + ["skips"] * (name != "PSPNet") + ["decoder"] * (name in U)
    names = attend(model, partial(PolarizedSelfAttention, init="identity"), at)
    keys = model.load_state_dict(plain.state_dict(), strict=False)
    assert not keys.unexpected_keys
    assert all(key.startswith(tuple(names)) for key in keys.missing_keys)
    assert {model.get_submodule(name) for name in names} == set(ours(model))
    out = masks(model)
    assert torch.equal(out, masks(plain)), name
    out.sum().backward()
    assert all(p.grad is not None for part in ours(model) for p in part.parameters()), name
    print(name, len(names), *(part.in_channels for part in ours(model)))

model = made("Linknet")
attend(model, PolarizedSelfAttention, ("bottleneck", "decoder"))
expected = model(x)
stored = io.BytesIO()
torch.save(model, stored)
stored.seek(0)
for twin in (copy.deepcopy(model), torch.load(stored, weights_only=False)):
    torch.testing.assert_close(twin(x), expected)
torch.nn.init.normal_(ours(copy.deepcopy(model))[0].ch_wv.weight)
assert torch.equal(model(x), expected)
half = made("Unet").to(torch.bfloat16)
attend(half, PolarizedSelfAttention, "skips")
assert half(x.bfloat16()).dtype == torch.bfloat16
gray = made("Unet", in_channels=1)
attend(gray, PolarizedSelfAttention, ("skips", "decoder"))
gray(x[:, :1])

before = list(made("PSPNet").state_dict())
for at in ("bottle", (), "skips", "decoder"):
    model = made("PSPNet")
    try:
        attend(model, PolarizedSelfAttention, at)
    except ValueError as error:
        print(error)
    assert list(model.state_dict()) == before
attend(model, PolarizedSelfAttention)
try:
    attend(model, PolarizedSelfAttention)
except ValueError as error:
    print(error)
exec(sys.argv[1])
print(len(ours(model)))
"""


@vision.needed
def test_a_model_keeps_its_outputs_and_its_weights():
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "docs/pytorch.md").read_text(), re.DOTALL)
    (recipe,) = [text for text in snippets if "smp" in text]
    assert vision.run(SMP, recipe).splitlines() == [
        "Unet 10 256 128 64 32 16 16 24 32 96 1280",
        "UnetPlusPlus 16 256 128 32 64 24 24 32 16 16 16 16 16 24 32 96 1280",
        "Linknet 10 96 32 24 16 32 16 24 32 96 1280",
        "FPN 4 24 32 96 1280",
        "PSPNet 1 32",
        "DeepLabV3Plus 2 24 1280",
        "PAN 4 24 32 96 1280",
        "Unet 10 256 128 64 32 16 16 24 32 96 1280",
        "FPN 4 24 32 96 1280",
        "at=('bottle',): take one or more of bottleneck, skips, decoder",
        "at=(): take one or more of bottleneck, skips, decoder",
        "PSPNet has no skips: its decoder reads one map alone",
        "PSPNet has no decoder blocks to attend to: take bottleneck or skips",
        "PSPNet has attentions already: name all places at once",
        "15",
    ]
