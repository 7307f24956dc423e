"""Runners without what takes most of a small one's time, and no test looks at.

That is the description of the machine, which is made once; the layout of the config's text, twice
for each Runner; at each data set, a search for garbage among all that was ever imported; the layout
of a run's pictures, which draws them twice; pictures of a kind that was drawn; all but one of the
passes that time its inference; and the FLOPs of a model that was counted.
"""

from collections import defaultdict
from functools import cache, wraps
from types import SimpleNamespace

import mmengine.dataset.base_dataset
import mmengine.runner.runner
import numpy as np
import yapf.yapflib.yapf_api
from matplotlib.figure import Figure
from mmseg.structures import SegDataSample

from psa_seg import files
from psa_seg.engine import describe, hooks, panels, summary
from psa_seg.engine.flops import count_flops

mmengine.runner.runner.collect_env = cache(mmengine.runner.runner.collect_env)
yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)
mmengine.dataset.base_dataset.gc = SimpleNamespace(collect=lambda: None)
Figure.set_layout_engine = lambda *_, **__: None
describe.WARMUP, describe.TIMED = 0, 1
COUNTED = {}


def counted(model, shape, **options):
    """What `count_flops` says, or said of a model that reads alike."""
    key = repr(model), shape, *options.items()
    if key not in COUNTED:
        COUNTED[key] = count_flops(model, shape, **options)
    return COUNTED[key]


def kind(value):
    """What a picture is laid out by: words, sizes, whether numbers are finite; not the numbers."""
    if isinstance(value, SegDataSample):
        return value.ori_shape
    if isinstance(value, dict):
        return tuple((key, kind(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(kind(each) for each in value)
    if isinstance(value, str) or value is None:
        return value
    return np.shape(value), bool(np.isfinite(value).all()), bool(np.any(value))


def remembered(draw):
    """A function that draws a picture, or writes that which was drawn of the same kind."""
    drawn = {}

    @wraps(draw)
    def drawing(path, *content):
        key = kind(content)
        if key in drawn:
            files.write(path, drawn[key])
            return
        draw(path, *content)
        drawn[key] = path.read_bytes()

    return drawing


PICTURES = [(hooks, "draw_curves"), (hooks, "draw_samples"), (panels, "draw_confusion")]
for module, name in PICTURES:
    setattr(module, name, remembered(getattr(module, name)))


def all_drawn():
    """From now on, in this process, each picture is drawn."""
    for module, name in PICTURES:
        setattr(module, name, getattr(module, name).__wrapped__)


def uncounted():
    """From now on, in this process, FLOPs are 1: half of the time of a run of three steps."""
    summary.count_flops = describe.count_flops = lambda *_, **__: defaultdict(int, Global=1)


summary.count_flops = describe.count_flops = counted
__name__ = "psa_seg.quick"  # `explain` would take what `counted` calls for code of a user's

# Options of such a config.
CROPS = {
    "train_dataloader.dataset.pipeline.3.crop_size": (64, 64),
    "model.data_preprocessor.size": (64, 64),
}
NO_VALIDATION = {
    "custom_hooks": [],
    "val_cfg": None,
    "val_dataloader": None,
    "val_evaluator": None,
}
