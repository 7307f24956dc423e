"""torchrun on this machine's part of a job, with the last word about what ended it.

    python -m psa_seg.engine.torchrun PROCESSES [--max-restarts N] SCRIPT [ARGUMENTS]
    python -m psa_seg.engine.torchrun PROCESSES [--max-restarts N] -m psa_seg train [ARGUMENTS]

Several machines: NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT in the environment, as usual.
torchrun itself would print a traceback of its own below a program's message, take for the first
cause whichever of two came first in a second, exit with 1, and start a user's mistake again.
"""

import argparse
import logging
import os
import sys
import uuid

import torch
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from psa_seg.engine import causes, distributed, failing, lock

HANDED_ON = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # to the processes
LAST_STEP_S = "600"  # time that they have then for a step and a checkpoint; PyTorch 2.11: 30
MEET = (
    "error: the machines of this job cannot meet: {}\n"
    "  do         see whether each is up, and NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT right"
)


def machines() -> causes.Machines | None:
    """Those of the job; None where it is this one alone."""
    of = os.environ.get
    if of("NNODES", "1") == "1" and "MASTER_PORT" not in os.environ:
        return None
    try:
        return causes.Machines(
            rank=int(of("NODE_RANK", "0")),
            count=int(of("NNODES", "1")),
            address=of("MASTER_ADDR", "127.0.0.1"),
            port=int(of("MASTER_PORT", "29500")),
        )
    except (ValueError, RuntimeError) as error:  # no numbers, or a port that is in use
        print(MEET.format(error), file=sys.stderr)
        sys.exit(2)


def arguments(processes: int, job: causes.Machines | None, attempt: int) -> list[str]:
    """torchrun's options for this machine's part of the job."""
    chosen = [f"--nproc-per-node={processes}", f"--signals-to-handle={HANDED_ON}"]
    if job is None:
        return [*chosen, "--standalone"]  # any free port: several jobs fit on a machine
    address, port = job.at
    chosen += [f"--nnodes={job.count}", f"--node-rank={job.rank}", f"--rdzv-id={attempt}"]
    return [*chosen, f"--master-addr={address}", f"--master-port={port}"]


def main() -> None:
    """Run the job, and again where it is asked for; exit as its first process to fail did."""
    parser = argparse.ArgumentParser(prog="tools/dist_train.sh", add_help=False, allow_abbrev=False)
    parser.add_argument("--max-restarts", type=restarts, default=0)
    chosen, (processes, *script) = parser.parse_known_args()
    if not processes.isdecimal() or processes == "0":
        print(f"error: the number of GPUs (processes) is not {processes!r}", file=sys.stderr)
        sys.exit(2)
    share = max(1, torch.get_num_threads() // int(processes))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # one, if they are left unset
        os.environ.setdefault(name, str(share))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", LAST_STEP_S)
    os.environ[lock.JOB] = uuid.uuid4().hex
    for name in list(logging.Logger.manager.loggerDict):  # each has a level of its own
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    job = machines()
    try:
        for attempt in range(chosen.max_restarts + 1):
            os.environ[distributed.RESTARTED] = f"{attempt}"
            end = run(int(processes), script, job, attempt)
            if end.words:
                print(end.words, file=sys.stderr, flush=True)
            if end.status in {0, *causes.SAID} or attempt == chosen.max_restarts:
                sys.exit(end.status)
            print(f"restart {attempt + 1} of {chosen.max_restarts}", file=sys.stderr, flush=True)
    except SignalException as error:  # the processes, if there are any, have said what they did
        sys.exit(128 + error.sigval)


def restarts(text: str) -> int:
    """A number of them, of the command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of times, 0 or more")
    return int(text)


def run(
    processes: int, script: list[str], job: causes.Machines | None, attempt: int
) -> causes.Cause:
    """Run the processes to their end: why that was."""
    with failing.collected():
        try:
            torchrun([*arguments(processes, job, attempt), *script])
        except ChildFailedError as error:
            others = job is not None and job.count > 1
            known = causes.of_this_machine(processes, others, failing.notes(), error.failures)
            return job.agree(known, attempt) if job else known
        except DistError as error:
            return causes.Cause(1, MEET.format(error))
    return causes.Cause(0)


if __name__ == "__main__":
    main()
