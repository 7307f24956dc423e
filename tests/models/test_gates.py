"""The gates that an attention shows are those that act."""

import pytest
import torch
from mmseg.registry import MODELS

from psa_seg.attention import PolarizedSelfAttention
from tests.parity import VARIANTS, build, variants


@variants
def test_polarized(variant):
    attention = build(8, variant, torch.float32)
    x = torch.rand(2, attention.in_channels, 5, 7) + 1
    channel, spatial = attention.gates_of(x)
    _, layout, branches = variant
    assert (channel is None) == (branches == "spatial")
    assert (spatial is None) == (branches == "channel")
    parts = [g for g in (_broad(channel, spatial)) if g is not None]
    gate = torch.ones(()) if layout == "sequential" else torch.zeros(())
    for part in parts:
        gate = gate * part if layout == "sequential" else gate + part
    torch.testing.assert_close(gate * x, attention(x), rtol=1e-4, atol=1e-5)


def _broad(channel, spatial):
    return (
        None if channel is None else channel[..., None, None],
        None if spatial is None else spatial[:, None],
    )


def test_every_variant_is_tried():
    assert {branches for *_, branches in VARIANTS} == {"both", "channel", "spatial"}


@pytest.mark.parametrize("kind", ["CBAM", "SqueezeExcitation"])
def test_rivals(kind):
    attention = MODELS.build(dict(type=kind, in_channels=32))
    x = torch.rand(2, 32, 5, 7) + 1
    gate = torch.ones(())
    for part in _broad(*attention.gates_of(x)):
        gate = gate if part is None else gate * part
    torch.testing.assert_close(gate * x, attention(x))


@pytest.mark.parametrize("kind", ["GlobalContext", "NonLocal", "TripletAttention"])
def test_others_have_none(kind):
    attention = MODELS.build(dict(type=kind, in_channels=32))
    assert attention.gates_of(torch.rand(1, 32, 5, 7)) == (None, None)


def test_gates_are_of_float32_whatever_the_map():
    gates = PolarizedSelfAttention(8).gates_of(torch.rand(1, 8, 4, 4, dtype=torch.bfloat16))
    assert {gate.dtype for gate in gates} == {torch.float32}
