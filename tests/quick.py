"""Runners without what takes most of a small one's time, and no test looks at.

That is the description of the machine, which is made once; the layout of the config's text, twice
for each Runner; at each data set, a search for garbage among all that was ever imported; the layout
of a run's pictures, which draws them twice; all but one of the passes that time its inference; and
the FLOPs of a model that was counted.
"""

from functools import cache
from types import SimpleNamespace

import mmengine.dataset.base_dataset
import mmengine.runner.runner
import yapf.yapflib.yapf_api
from matplotlib.figure import Figure

from psa_seg.engine import describe, summary
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
