"""A program in a process forked from this one: what it would import is here already."""

import gc
import os
import sys
import traceback

import torch
import torch._dynamo  # a second of each start, which a model on the meta device asks for

from psa_seg.engine import signals
from tests import quick


def forked(work, out, err):
    """Start a process that calls `work`, and ends as a program would: its number.

    Args:
        work: without arguments.
        out: path of the file to which what it prints is added.
        err: of its errors; the same one, or another.
    """
    gc.collect()  # loaders of data, say, which no other process can put away
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        gc.freeze()
        signals._State.watched = False  # by a thread of the process that was forked
        for stream, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        torch.set_num_threads(1)
        quick.uncounted()
        work()
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)
