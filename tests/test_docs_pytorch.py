"""docs/attention.md and docs/pytorch.md do what they say: their code runs, from top to bottom."""

import re

import pytest

from psa_seg.attention.blocks import Attends
from psa_seg.attention.parts import is_pointwise
from tests.conftest import ROOT


def test_every_line_of_the_attentions_page_runs():
    names = {}
    codes = re.findall(r"```python\n(.*?)```", (ROOT / "docs/attention.md").read_text(), re.DOTALL)
    for code in codes[:-1]:  # the last is a config: tests/test_recipes.py
        exec(compile(code, "docs/attention.md", "exec"), names)
    assert names["out"].shape == names["x"].shape
    assert names["gates"].spatial.shape[-2:] == names["x"].shape[-2:]
    assert names["attention"].form == "official"


@pytest.mark.filterwarnings("error")  # such as that of the textbook
def test_every_line_runs():
    text = (ROOT / "docs/pytorch.md").read_text()
    names = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if "import timm" in code or "import segmentation_models_pytorch" in code:
            continue  # in tests/models/test_timm.py and tests/integrations/test_smp.py
        exec(compile(code, "docs/pytorch.md", "exec"), names)
        if "prune" in code:
            assert is_pointwise(names["attention"].ch_wv)
            assert (names["attention"].ch_wv.weight == 0).float().mean() == 0.5
    assert all(isinstance(block.conv2, Attends) for block in names["network"])
    assert names["x"].grad.abs().sum() > 0
