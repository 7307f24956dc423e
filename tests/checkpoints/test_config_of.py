"""The config in a checkpoint, read without running it, is the config that was written."""

import pytest
from mmengine.config import Config

from psa_seg.checkpoints.reading import config_of
from tests.conftest import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_of_each_of_ours(path):
    config = Config.fromfile(path, import_custom_modules=False)
    config.odd = {"a.b": -1, "none": None, 3: float("inf"), "kinds": [int, Config], "empty": ()}
    found = config_of({"meta": {"cfg": config.pretty_text}})
    kinds = ["int", "mmengine.config.config.Config"]
    expected = config.to_dict() | {"odd": {**config.odd.to_dict(), "kinds": kinds}}
    assert found == expected
