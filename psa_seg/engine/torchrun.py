"""torchrun on this machine's part of a job, with the last word left to the program it runs.

    python -m psa_seg.engine.torchrun PROCESSES SCRIPT [ARGUMENTS]

Several machines: NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT in the environment, as usual.
torchrun itself would print a traceback of its own below a program's message, and exit with 1.
"""

import logging
import os
import platform
import signal
import sys

import torch
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

HANDED_ON = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # to the processes
LAST_STEP_S = "600"  # time that they have then for a step and a checkpoint; PyTorch 2.11: 30


def arguments(processes: str) -> list[str]:
    """torchrun's options for this machine's part of the job."""
    nodes = os.environ.get("NNODES", "1")
    chosen = [f"--nproc-per-node={processes}", f"--nnodes={nodes}"]
    chosen.append(f"--signals-to-handle={HANDED_ON}")
    if nodes == "1" and "MASTER_PORT" not in os.environ:
        return [*chosen, "--standalone"]  # any free port: several jobs fit on a machine
    return [
        *chosen,
        f"--node-rank={os.environ.get('NODE_RANK', '0')}",
        f"--master-addr={os.environ.get('MASTER_ADDR', '127.0.0.1')}",
        f"--master-port={os.environ.get('MASTER_PORT', '29500')}",
    ]


def main() -> None:
    """Run the job; exit as its first process to fail did."""
    processes, *script = sys.argv[1:]
    if not processes.isdecimal() or processes == "0":
        print(f"error: the number of GPUs (processes) is not {processes!r}", file=sys.stderr)
        sys.exit(2)
    share = max(1, torch.get_num_threads() // int(processes))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # one, if they are left unset
        os.environ.setdefault(name, str(share))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", LAST_STEP_S)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        torchrun([*arguments(processes), *script])
    except SignalException as error:  # the processes have said what they did about it
        sys.exit(128 + error.sigval)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            sys.exit(failure.exitcode)
        name = signal.Signals(-failure.exitcode).name
        print(
            f"error: process {rank} on {platform.node()} was killed by {name}"
            + ("\n  do         see whether memory ran out" if name == "SIGKILL" else ""),
            file=sys.stderr,
        )
        sys.exit(128 - failure.exitcode)


if __name__ == "__main__":
    main()
