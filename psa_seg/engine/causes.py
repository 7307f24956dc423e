"""What ended a job of several processes, on one machine or many: the first cause, once."""

import json
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from psa_seg.engine import signals
from psa_seg.engine.failing import Note
from psa_seg.engine.tool import READER_LEFT
from psa_seg.errors import DivergedError, UserError

# What processes have said all of, and what would not go better at a second time.
SAID = {UserError.status, DivergedError.status, READER_LEFT, *(128 + n for n in signals.ASKING)}
# A machine's processes have torchrun's 30 s to end.
END_S = timedelta(seconds=40)
CONNECT_S = timedelta(seconds=5)
HINTS = {
    "SIGKILL": (
        "\n  do         see whether memory ran out: dmesg, or your cluster's accounts, say so"
    ),
    "SIGABRT": "\n  do         read its words above: NCCL so ends what waited for another in vain",
}


@dataclass(frozen=True)
class Cause:
    """Why a job ended.

    Attributes:
        status: the exit status.
        words: what is to be said, if the processes have not said all.
        elsewhere: whether it may be known on another machine.
    """

    status: int
    words: str = ""
    elsewhere: bool = False


def of_this_machine(
    processes: int, others: bool, notes: Sequence[Note], failures: dict[int, ProcessFailure]
) -> Cause:
    """What is known here.

    Args:
        processes: on this machine.
        others: whether the job has further machines.
        notes: that they have left, the first cause first.
        failures: of processes, by rank, those that were seen first before all others.
    """
    if notes and not notes[0].lost:
        return Cause(notes[0].status, f"{notes[0].trace}error: {notes[0].text}")
    rank, failure = next(iter(failures.items()))
    here = f"on {platform.node()}"
    status = failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    lost = {note.rank: note for note in notes}
    if rank in lost:
        all_here = range(rank - failure.local_rank, rank - failure.local_rank + processes)
        silent = " and ".join(f"{other}" for other in all_here if other not in lost)
        what, trace = f"process {silent} {here} does not answer, or has ended", ""
        if not silent and others:
            what = "a process on another machine does not answer, or has ended"
        elif not silent:
            what, trace = "processes wait for each other, at different steps", lost[rank].trace
        words = (
            f"{trace}error: {what}\n"
            f"  why        {lost[rank].text}\n"
            "  do         see what they were at, a disk say, and the log of each machine; for\n"
            "             longer pauses, set env_cfg.dist_cfg.timeout (seconds; 600)"
        )
        return Cause(status, words, elsewhere=True)
    if failure.exitcode < 0:
        name = failure.signal_name()
        words = f"error: process {rank} {here} was killed by {name}{HINTS.get(name, '')}"
        return Cause(status, words, elsewhere=name == "SIGABRT")
    words = f"error: process {rank} {here} ended with exit status {status}"
    return Cause(status, "" if status in SAID else words)


class Machines:
    """Those of a job, which agree on its first cause.

    Args:
        rank: of this one.
        count: how many.
        address: of the first.
        port: of it, which torchrun's processes share, each time they are started.
    """

    def __init__(self, rank: int, count: int, address: str, port: int) -> None:
        self.rank, self.count, self.at = rank, count, (address, port)
        self._store = self._reach() if rank == 0 else None

    def _reach(self) -> Store:
        first = self.rank == 0
        return TCPStore(*self.at, None, first, CONNECT_S, wait_for_workers=False, multi_tenant=True)

    def agree(self, known: Cause, attempt: int) -> Cause:
        """The first cause that a machine knows of; `known`, where no other one can be asked."""
        with suppress(RuntimeError):
            store = PrefixStore(f"{__name__} {attempt}", self._store or self._reach())
            if not known.elsewhere:
                store.compare_set("cause", "", json.dumps(asdict(known)))
            with suppress(RuntimeError):
                store.wait(["cause"], END_S)
                known = Cause(**json.loads(store.get("cause")))
            store.set(f"{self.rank}", "has read it")
            if self.rank == 0:
                store.wait([f"{rank}" for rank in range(self.count)], END_S)
        return known
