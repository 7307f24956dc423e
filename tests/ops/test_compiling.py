"""Every kernel compiles for an A100 and an H100 without a GPU, and fits into either."""

import itertools
import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")
from psa_seg.ops.fused.tiles import SHARED_BYTES

KERNELS = ("pool_forward", "dot", "gate_forward", "gate_backward", "pool_backward")
MAPS = (
    "80,bfloat16,nchw,512,32768",
    "80,float16,nhwc,2048,8192",
    "90,bfloat16,nchw,1024,9409",  # 97x97, of a crop of 769x769: no row is aligned
    "90,float32,nchw,4096,2048",
    "90,bfloat16,nchw,2048,8192",
)
PARALLEL, SEQUENTIAL = "T,DR,TX", "T,DP,TX"  # what gate_backward leaves out
CASES = [
    *(f"{kernel},{x}" for kernel in KERNELS if kernel != "gate_backward" for x in MAPS),
    *(f"gate_backward,{x},{out}" for x, out in zip(MAPS, itertools.cycle((PARALLEL, SEQUENTIAL)))),
    # The official forms: m is given; and a softmax stands before it, or nothing of x does.
    *(f"gate_forward,{x},U,BETA" for x in MAPS),
    *(f"gate_backward,{x},DR" for x in MAPS),
    "gate_backward,90,bfloat16,nchw,512,32768,T,DP,DU,TX",
    # What is 1 or None becomes a constant, too.
    "pool_combine,90,float32,nchw,512,32768,programs",
    "pool_combine,90,float32,nchw,512,32768,G,NORM",
    "pool_forward,90,bfloat16,nchw,512,32768,W,LOGITS,tiles",
    "gate_forward,90,bfloat16,nchw,512,32768,U,BETA,M,tiles",
    "gate_backward,90,bfloat16,nchw,512,32768,M,T,DT,DR,DU,TX,tiles",
    "pool_backward,90,bfloat16,nchw,512,32768,W,DG,G,LOGITS,NORM,DW,tiles",
]


MOST_SPILT = 512  # bytes a thread: tiles that spill were faster than any that do not, as measured


def test_kernels_compile_and_spill_few_registers():
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.ops.compile_kernels", *CASES]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    used = [json.loads(line) for line in result.stdout.splitlines()]
    assert [kernel["case"] for kernel in used] == CASES
    assert [kernel for kernel in used if kernel["STACK"] + kernel["LOCAL"] > MOST_SPILT] == []
    assert [kernel for kernel in used if kernel["SHARED"] > SHARED_BYTES] == []
    assert max(kernel["SHARED"] for kernel in used) > SHARED_BYTES / 2  # tiles are in flight
