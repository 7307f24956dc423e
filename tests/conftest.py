"""Shared by all tests: one thread, one seed, small configs on a handful of synthetic scenes."""

import atexit
import copy
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

# Figures and bits are the CPU's, and Triton's interpreter runs the kernels. On a GPU,
# PSA_SEG_TEST_DEVICE=cuda pytest tests/ops tests/attention. Torch and Triton look when imported.
if os.environ.setdefault("PSA_SEG_TEST_DEVICE", "cpu") == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TRITON_INTERPRET"] = "1"
# One thread each, in subprocesses too: under `pytest -n 2`, two of each would spin in turns.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # counts of masks
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # or cuBLAS warns when NaN marks unwritten memory

import pytest
import torch
from mmengine.registry import init_default_scope

import psa_seg.datasets
import psa_seg.engine.hooks
import psa_seg.engine.loop
import psa_seg.evaluation
import psa_seg.models  # noqa: F401
from psa_seg import trust
from psa_seg.datasets.synthetic import prepare as draw
from psa_seg.engine import launch, prepare, signals
from psa_seg.engine.config import load_config, override
from psa_seg.engine.demo import shrink
from tests import quick  # noqa: F401

atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
ROOT = Path(__file__).parents[1]
RUNS = count()

init_default_scope("mmseg")
torch.backends.cudnn.allow_tf32 = False  # the textbook's convolutions are a reference


SLOW = (  # for longest; begun first, so that no process of `pytest -n` is left with one at the end
    *("test_slurm.py", "test_docs_your_data.py", "test_runs.py", "test_first_cause.py"),
    *("test_distributed.py", "test_yolo.py", "test_tools.py", "test_export.py", "test_faults.py"),
)


def pytest_collection_modifyitems(items):
    """Slow files first; see `.ci/run`."""
    items.sort(key=lambda item: item.path.name not in SLOW)


@contextmanager
def answering_signals(nohup=False):
    """Signals are answered as in a tool, whatever these tests are started by."""
    before = {number: signal.getsignal(number) for number in signals.ASKING}
    signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
    signals.install()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signals._State.number = 0
        signals.release()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    yield
    os.environ.pop(trust.DATA_ALONE, None)  # of a tool, which is a process by itself


@pytest.fixture(scope="session")
def streets(tmp_path_factory):
    """Sixteen synthetic scenes of 128x256 in Cityscapes' layout."""
    counts = {"train": 10, "val": 4, "test": 2}
    return draw(tmp_path_factory.mktemp("data") / "streets", counts=counts, size=(128, 256))


@cache
def loaded(name):
    """The config of a name, for a copy of it."""
    return load_config(str(ROOT / "configs" / f"{name}.py"))


def small(name, streets, work_dir, **options):
    """A config's demo on the few scenes, two images a step, no worker processes."""
    config = copy.deepcopy(loaded(name))
    shrink(config, streets)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.num_workers = 0
    config.train_dataloader.batch_size = 2
    config.work_dir = config.visualizer.name = str(work_dir)  # one of a name lives on, and writes
    config.experiment_name = f"{name}-{next(RUNS)}"  # nor do two of one second share log and losses
    override(config, options)
    return config


def train(config, **options):
    """Train as the tool does once it has read its command line."""
    launch.train(prepare.training(config, **options))


def evaluate(config, checkpoint, **options):
    """Test as the tool does."""
    launch.test(prepare.scoring(config, checkpoint, **options))


@pytest.fixture
def tiny(streets, tmp_path):
    """A function: name of a config and options → its `small`."""
    return lambda name, **options: small(name, streets, tmp_path / "work", **options)
