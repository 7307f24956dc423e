"""Processes that work together, forked from this one: what each would import is here already.

Their parent is `psa_seg.engine.torchrun`, as in `tools/dist_train.sh`, and torchrun below it; only
that it forks them is not what a user has.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from psa_seg.engine import torchrun
from tests.forked import forked

FORKED = ["--run-path", "--start-method=fork"]
GROUPS = []


def together(
    script, *arguments, folder, processes=2, machines=1, timeout=120, restarts=0, alone=False
):
    """Run a script in several processes: what `subprocess.run` would return, of each machine.

    Args:
        script: its path.
        arguments: its own.
        folder: to work in; what they say is below it.
        processes: how many, on each machine.
        machines: how many, as far as torchrun knows.
        timeout: seconds; it has failed then.
        restarts: how often it may be started again.
        alone: torchrun, as PyTorch has it.
    """
    words = [f"{processes}", f"--max-restarts={restarts}", f"{script}", *map(str, arguments)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    children = []
    for machine in range(machines):
        said = [Path(folder) / f"{machine}.{name}" for name in ("out", "err")]
        nodes = dict(NNODES=f"{machines}", NODE_RANK=f"{machine}", MASTER_PORT=f"{port}")
        for path in said:
            path.unlink(missing_ok=True)
        work = partial(_be_torchrun, words, folder, nodes if machines > 1 else {}, alone)
        child = forked(work, *said)
        children.append((child, said))
        GROUPS.append(child)
    deadline = time.monotonic() + timeout
    found = [_await(child, said, deadline, words) for child, said in children]
    return found if machines > 1 else found[0]


def _await(child, said, deadline, words):
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    status = os.waitstatus_to_exitcode(ended[1])
    return subprocess.CompletedProcess(words, status, *(path.read_text() for path in said))


def end_all():
    """End what would go on without those that started it."""
    while GROUPS:
        with suppress(ProcessLookupError):
            os.killpg(GROUPS.pop(), signal.SIGKILL)


def _be_torchrun(words, folder, environment, alone):
    os.setsid()
    os.chdir(folder)
    os.environ |= environment
    arguments = torchrun.arguments
    torchrun.arguments = lambda *about: [*arguments(*about), *FORKED]
    sys.argv = ["torchrun", *words]
    if alone:
        torchrun.torchrun(["--standalone", "--nproc-per-node", words[0], *FORKED, *words[1:]])
    else:
        torchrun.main()
