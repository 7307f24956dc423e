"""docs/pytorch.md does what it says: its code runs, from top to bottom."""

import re

import pytest

from psa_seg.attention.blocks import Attends
from psa_seg.attention.parts import is_pointwise
from tests.conftest import ROOT


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
