"""Processes that train together: how they meet, and how one decides for all."""

import datetime
import os
import platform
import signal
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from mmengine.dist import (
    all_gather_object,
    all_reduce,
    broadcast_object_list,
    get_rank,
    is_distributed,
)
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

from psa_seg import shipped
from psa_seg.engine import failing, signals
from psa_seg.errors import DataError, UserError

Value = TypeVar("Value")
PATIENCE = datetime.timedelta(hours=2)  # while one process downloads, draws or reads
ANSWER = datetime.timedelta(minutes=10)  # in a step; `env_cfg.dist_cfg.timeout` is another one
RESTARTED = "PSA_SEG_RESTARTED"  # set by `torchrun.py`; torchrun itself counts on its own
MOST_S = 1e7  # of a wait: four months


def start(launcher: str) -> None:
    """Join the processes that torchrun started: NCCL between GPUs, gloo without GPUs.

    Raises:
        UserError: where torchrun did not start this process, or started more than there are GPUs.
    """
    if launcher == "none" or is_distributed():
        return
    if "LOCAL_RANK" not in os.environ:
        raise UserError(
            "--launcher pytorch is for processes that torchrun starts\n"
            f"  do         {shipped.TOOLS}/dist_train.sh CONFIG GPUS, or leave --launcher out"
        )
    gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if gpus and int(os.environ["LOCAL_WORLD_SIZE"]) > gpus:
        if local and failing.FOLDER not in os.environ:  # or it is said once, by `torchrun.py`
            raise SystemExit(2)
        raise DataError(  # of this machine, whatever the others have
            f"{os.environ['LOCAL_WORLD_SIZE']} processes were asked for, but "
            f"{platform.node()} has {gpus} GPU(s): start one process a GPU"
        )
    if gpus:
        torch.cuda.set_device(local)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # of torchrun which, killed, tells nobody
        signals.end_with_parent(signal.SIGTERM)
    # Started again by torchrun, processes find in its store where the former ones were to be met.
    store, rank, size = next(rendezvous("env://", timeout=ANSWER))
    torch.distributed.init_process_group(
        "nccl" if gpus else "gloo",
        store=PrefixStore(f"{restarts()}", store),
        rank=rank,
        world_size=size,
        timeout=ANSWER,
    )


def restarts() -> int:
    """How often this job's processes were started before, and failed."""
    return int(os.environ.get(RESTARTED, os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))


def wait_for(seconds: float | None) -> None:
    """From now on, give up another process that is silent for so long.

    Args:
        seconds: None for what it has been.

    Raises:
        UserError: where that is no time.
    """
    if seconds is None or not is_distributed():
        return
    if not isinstance(seconds, int | float) or not 0 < seconds < MOST_S:
        raise UserError(
            f"env_cfg.dist_cfg.timeout is {seconds!r}\n"
            "  do         give seconds: after how long processes give one up that is silent"
        )
    torch.distributed.distributed_c10d._set_pg_timeout(datetime.timedelta(seconds=seconds))


def largest(values: Sequence[float]) -> list[float]:
    """Each of some numbers, at its largest over all processes."""
    if not is_distributed():
        return list(values)
    found = torch.tensor(values, dtype=torch.float32)
    all_reduce(found, op="max")
    return found.tolist()


def once(function: Callable[[], Value], each_node: bool = False) -> Value:
    """Call `function` in the first process, or that of each node, while all others wait.

    Returns:
        In every process, what it returned in the very first one.

    Raises:
        UserError: in every process, if it was raised on any node.
    """
    if not is_distributed():
        return function()
    value: Value | None = None
    message = None
    if (int(os.environ["LOCAL_RANK"]) if each_node else get_rank()) == 0:
        try:
            value = function()
        except UserError as error:
            message = f"{error}" if get_rank() == 0 else f"{error}\n  on         {platform.node()}"
    patient = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
    messages = [m for m in all_gather_object(message, group=patient) if m]
    if messages:
        raise UserError(messages[0])
    values = [value]
    broadcast_object_list(values, group=patient)
    return values[0]  # type: ignore[return-value]
