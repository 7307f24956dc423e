"""Processes that train together: how they meet, and how one decides for all."""

import datetime
import os
import platform
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

from psa_seg.errors import DataError, UserError

Value = TypeVar("Value")
PATIENCE = datetime.timedelta(hours=2)  # while one process downloads, draws or reads


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
            "  do         tools/dist_train.sh CONFIG GPUS, or leave --launcher out"
        )
    gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if gpus and int(os.environ["LOCAL_WORLD_SIZE"]) > gpus:
        if local:
            raise SystemExit(2)
        raise DataError(  # of this machine, whatever the others have
            f"{os.environ['LOCAL_WORLD_SIZE']} processes were asked for, but "
            f"{platform.node()} has {gpus} GPU(s): start one process a GPU"
        )
    if gpus:
        torch.cuda.set_device(local)
    torch.distributed.init_process_group("nccl" if gpus else "gloo")


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
