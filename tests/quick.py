"""Runners without what takes most of a small one's time, and no test looks at.

That is the description of the machine, which is made once; the layout of the config's text, twice
for each Runner; and, at each data set, a search for garbage among all that was ever imported.
"""

from functools import cache
from types import SimpleNamespace

import mmengine.dataset.base_dataset
import mmengine.runner.runner
import yapf.yapflib.yapf_api

mmengine.runner.runner.collect_env = cache(mmengine.runner.runner.collect_env)
yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)
mmengine.dataset.base_dataset.gc = SimpleNamespace(collect=lambda: None)
