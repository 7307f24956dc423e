"""What befalls one process of several in a training: a hook, named in a config."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


def spoil(runner):
    """Have the images end too early, which were whole when the run began."""
    for path in Path(runner.train_dataloader.dataset.data_root).rglob("leftImg8bit/train/*/*.png"):
        os.truncate(path, path.stat().st_size // 2)


def lose_loader(runner):
    """As from the kernel; it is heard of at any moment."""
    multiprocessing.active_children()[0].kill()
    time.sleep(60)


FAULTS = {
    "nothing": lambda runner: None,
    "raises": lambda runner: [][runner.iter],
    "broken": spoil,
    "loader": lose_loader,
    "killed": lambda runner: os.kill(os.getpid(), signal.SIGKILL),
    "hangs": lambda runner: time.sleep(600),
    "orphaned": lambda runner: os.kill(os.getppid(), signal.SIGKILL),
}


@HOOKS.register_module()
class Befall(Hook):
    """Have a fault befall the second process in the second step, once.

    Args:
        what: of `FAULTS`.
        once: a file that says it has.
    """

    def __init__(self, what, once):
        self.what, self.once = what, Path(once)

    def before_train_iter(self, runner, **_):
        if (runner.rank, runner.iter) == (1, 1) and not self.once.exists():
            self.once.touch()
            FAULTS[self.what](runner)
