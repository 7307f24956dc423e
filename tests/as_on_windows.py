"""Import, and use, what asks the system for something, without what Windows has none of.

Libraries are imported before: what they do there is theirs. File system and console are not
simulated.

    python tests/as_on_windows.py TOOLS
"""

import importlib
import os
import pkgutil
import runpy
import signal
import sys
import warnings
from pathlib import Path

# ruff: noqa: E402

LIBRARIES = (
    *("matplotlib.pyplot", "mmseg.datasets", "mmseg.models", "torch._dynamo", "torch.onnx"),
    *("torch.distributed.run", "torch.profiler"),
)
warnings.simplefilter("ignore")
for name in LIBRARIES:
    importlib.import_module(name)

GONE = ("resource", "fcntl", "pwd", "grp", "termios")
KEPT = ("SIGINT", "SIGTERM", "SIGABRT", "SIG_IGN", "SIG_DFL")


class Windows:
    """Finds none of the modules that are gone."""

    def find_spec(self, name, path=None, target=None):
        if name in GONE:
            raise ModuleNotFoundError(name, name=name)


for name in GONE:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Windows())
for name in dir(signal):
    if name.startswith("SIG") and name not in KEPT:
        delattr(signal, name)
for name in ("sigwaitinfo", "pthread_sigmask"):
    delattr(signal, name)
for name in ("fork", "getuid", "sched_getaffinity", "set_blocking"):
    delattr(os, name)
open_there = os.open


def opened(path, flags, *rest, **more):
    """Folders are not opened; nor is what is opened to be read alone written out by fsync."""
    if os.path.isdir(path) or (flags == os.O_RDONLY and str(path).endswith(".part")):
        raise PermissionError(13, "Permission denied", str(path))
    return open_there(path, flags, *rest, **more)


os.open = opened

import psa_seg

for module in pkgutil.walk_packages(psa_seg.__path__, "psa_seg."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:  # of an extra that is not installed
        gone = error.name in (*GONE, None) or error.name.startswith("psa_seg")
        if gone:
            raise

from psa_seg import files
from psa_seg.datasets.data_file import read_data_file
from psa_seg.engine import describe, lock, signals
from psa_seg.leaderboard.page import page

signals.install()
with signals.last_words(), lock.alone(Path(".run"), "a run"):
    assert not lock.is_held(Path(".run"))
signals.leave_to_parent(None, 0)
assert describe.training_memory().MiB == 0
text = "images: {train: i}\nmasks: {train: m}\nnames: [Straße, b]\nval: 0.5"
files.write(Path("data.yaml"), text)
assert read_data_file(Path("data.yaml")).names == ("Straße", "b")
assert "±" in page([], False)
for tool in Path(sys.argv[1]).glob("*.py"):
    runpy.run_path(str(tool), run_name="imported")
print("ALL")
