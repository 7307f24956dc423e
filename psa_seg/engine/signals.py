"""Signals that ask a program to end: at once, or, within a training, at the end of its step.

Slurm's warning is SIGUSR1, its end SIGTERM; a terminal sends SIGINT (Ctrl-C), and SIGHUP when it
closes. What was started to outlive its terminal (`nohup`) goes on ignoring that.
"""

import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psa_seg.engine import failing

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")  # Windows has the first two
ASKING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
# Under torchrun, and in a sweep, a signal to all processes comes a second time, from their parent.
ECHO_S = 1.0
HANDED_ON = "PSA_SEG_SIGNALS_HANDED_ON"  # set by a sweep
# A main thread deep in a library, which waits for another process say, answers no signal.
PATIENCE_S, PATIENCE_OF_A_SECOND_S = 300.0, 5.0
SIGKILL = 9  # which Windows does not name
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
# Which asks the main thread whether it answers; ignored otherwise. Windows has none.
PROBE = getattr(signal, "SIGURG", 0)


class Interrupted(KeyboardInterrupt):
    """The program is to end.

    Args:
        number: of the signal.
        done: what has been done about it, and how to go on; empty for a tool's own words.
    """

    def __init__(self, number: int, done: str = "") -> None:
        super().__init__(signal.Signals(number).name)
        self.number, self.done = number, done


class _State:
    """What has been asked of this process."""

    number = 0  # of the signal that came; 0 for none
    came = 0.0  # seconds
    answered = 0.0  # likewise, the latest probe
    watched = False  # by a thread
    held = False  # whether somebody looks at `number` soon


def install() -> None:
    """Answer these signals, from now on, in this process."""
    _State.number, _State.held = 0, False
    for number in ASKING:
        ignored = signal.getsignal(number) is signal.SIG_IGN
        if not (ignored and signal.Signals(number).name == "SIGHUP"):
            signal.signal(number, _answer)
    if PROBE:
        signal.signal(PROBE, _be_there)
    if PROBE and not _State.watched:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(reader,), daemon=True).start()
        _State.watched = True


def _watch(reader: int) -> None:
    """See signals when they come; end the program where the main thread answers none."""
    before = -math.inf
    while True:
        (number,) = os.read(reader, 1)
        now = time.monotonic()
        if number in ASKING:
            hopeless = ECHO_S < now - before < math.inf or failing.notes()
            patience = PATIENCE_OF_A_SECOND_S if hopeless else PATIENCE_S
            timer = threading.Timer(patience, _end_unanswered, (number, now))
            timer.daemon = True
            timer.start()
            os.kill(os.getpid(), PROBE)
            before = now


def _end_unanswered(number: int, came: float) -> None:
    if _State.answered < came and signal.getsignal(number) is _answer:
        print(f"interrupted ({signal.Signals(number).name}), and no answer: it ends", flush=True)
        os._exit(128 + number)


def _be_there(number: int, frame: Any) -> None:
    _State.answered = time.monotonic()


def _answer(number: int, frame: Any) -> None:
    now = time.monotonic()
    again = _State.number != 0
    echoed = {HANDED_ON, "TORCHELASTIC_RUN_ID"} & os.environ.keys()
    if again and echoed and now - _State.came < ECHO_S:
        return
    _State.number, _State.came = number, now
    if again or not _State.held or failing.notes():  # no step ends without the process that failed
        raise Interrupted(number)


def check() -> None:
    """Raise Interrupted where a signal came, and a library has swallowed that."""
    if _State.number and not _State.held:
        raise Interrupted(_State.number)


def hold() -> None:
    """From now on, a first signal waits until somebody looks at `asked`; a second one ends at once.

    Raises:
        Interrupted: as `check` does.
    """
    check()
    _State.held = True


def release() -> None:
    """The opposite of `hold`: signals end the program where it is."""
    _State.held = False


def is_held() -> bool:
    """Whether a first signal waits."""
    return _State.held


def asked() -> int:
    """The number of the signal that waits; 0 if none does."""
    return _State.number


@contextmanager
def last_words() -> Iterator[None]:
    """The program ends after this block, and no signal ends it within."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ASKING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def end_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when that which started it ends (Linux).

    When the thread of it ends that did so: torchrun, and a loader of data, have one that lasts.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def leave_to_parent(first: Callable[[int], None] | None, worker: int) -> None:
    """In a process that loads data: end when the one that started it does, or says so.

    A signal to all processes of a job must not take the data away that the last step needs. And
    where one is killed, others wait until nobody holds its connections, which its workers have too.

    Args:
        first: what else a worker begins with.
        worker: its number.
    """
    end_with_parent(SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in ASKING:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # or who sends a signal is not known: macOS, Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_await_parent, daemon=True).start()
    if first is not None:
        first(worker)


def _await_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
