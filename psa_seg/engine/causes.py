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
# A machine's processes end within torchrun's 30 s, each of them.
END_S = timedelta(seconds=40)
CONNECT_S = timedelta(seconds=5)


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
    processes: int, notes: Sequence[Note], failures: dict[int, ProcessFailure]
) -> Cause:
    """What is known here.

    Args:
        processes: on this machine.
        notes: that they have left, the first cause first.
        failures: of processes, by rank, those that were seen first before all others.
    """
    if notes and not notes[0].lost:
        return Cause(notes[0].status, f"{notes[0].trace}error: {notes[0].text}")
    rank, failure = next(iter(failures.items()))
    status, here = failure.exitcode, f"on {platform.node()}"
    lost = {note.rank: note for note in notes}
    if rank in lost:
        all_here = range(rank - failure.local_rank, rank - failure.local_rank + processes)
        silent = " and ".join(f"{other}" for other in all_here if other not in lost)
        who = f"process {silent} {here}" if silent else "a process on another machine"
        words = (
            f"{lost[rank].trace}error: {who} does not answer, or has ended\n"
            f"  why        {lost[rank].text}\n"
            "  do         see what it was at, a disk say, and the log of its machine; for longer\n"
            "             pauses, set env_cfg.dist_cfg.timeout (seconds; 600)"
        )
        return Cause(abs(status), words, elsewhere=True)
    if status < 0:
        name = failure.signal_name()
        hint = "\n  do         see whether memory ran out" if name == "SIGKILL" else ""
        return Cause(128 - status, f"error: process {rank} {here} was killed by {name}{hint}")
    words = f"error: process {rank} {here} ended with exit status {status}"
    return Cause(status, "" if status in SAID else words)


class Machines:
    """Those of a job, which agree on its first cause.

    Args:
        rank: of this one.
        count: how many.
        address: of the first.
        port: of it, which torchrun's processes share.
    """

    def __init__(self, rank: int, count: int, address: str, port: int) -> None:
        self.rank, self.count, self.at = rank, count, (address, port)
        # It outlives that of torchrun, with which it shares the port.
        self._store = self._reach() if rank == 0 else None

    def _reach(self) -> Store:
        first = self.rank == 0
        store = TCPStore(
            *self.at, None, first, CONNECT_S, wait_for_workers=False, multi_tenant=True
        )
        return PrefixStore(__name__, store)

    def first(self, known: Cause) -> Cause:
        """The first cause that a machine knows of; `known`, where no other one can be asked."""
        with suppress(RuntimeError):
            store = self._store or self._reach()
            if not known.elsewhere:
                store.compare_set("cause", "", json.dumps(asdict(known)))
            with suppress(RuntimeError):
                store.wait(["cause"], END_S)
                known = Cause(**json.loads(store.get("cause")))
            store.set(f"{self.rank}", "has read it")
            if self.rank == 0:
                store.wait([f"{rank}" for rank in range(self.count)], END_S)
        return known
