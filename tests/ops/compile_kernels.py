"""Compile the Triton kernels for GPUs that need not be there: a process of its own, because
`TRITON_INTERPRET` acts when a kernel is decorated. Prints one JSON line for each specialisation.

    python -m tests.ops.compile_kernels 80 bfloat16 nchw 512
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from psa_seg.ops.fused import kernels
from psa_seg.ops.fused.tiles import launch

TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
MAPS = {"X", "DOUT", "OUT", "DX"}  # the pointers to what has the dtype of x
KERNELS = ("pool_forward", "gate_forward", "gate_backward", "pool_backward")


def compiled(kernel, capability, dtype, memory_format, channels, absent=()):
    """The compiled kernel for a map of `channels` as a launch would specialise it."""
    function = getattr(kernels, kernel)
    x = torch.empty(8, channels, 128 * 256, dtype=dtype, device="meta")
    if memory_format == "nhwc":
        x = torch.empty(8, 128 * 256, channels, dtype=dtype, device="meta").transpose(1, 2)
    plan = launch(kernel, x)
    known = {"BLOCK_C": plan.block_c, "BLOCK_N": plan.block_n} | dict.fromkeys(absent)
    known |= {"stride_n" if memory_format == "nchw" else "stride_c": 1}
    known = {name: value for name, value in known.items() if name in function.arg_names}
    signature, attributes = {}, {}
    for index, name in enumerate(function.arg_names):
        if name in known:
            signature[name] = "constexpr"
            continue
        signature[name] = (
            f"*{TYPES[dtype] if name in MAPS else 'fp32'}" if name.isupper() else "i32"
        )
        if name not in ("tiles", "BETA", "LSE"):
            attributes[index,] = [["tt.divisibility", 16]]
    source = ASTSource(function, signature, constexprs=known, attrs=attributes)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options={"num_warps": plan.warps}), plan


def resources(kernel):
    """Registers a thread, and bytes a thread outside them: what cuobjdump reads in the cubin."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        text = subprocess.check_output([tool, "-res-usage", file.name], text=True)
    return {name: int(re.search(rf"{name}:(\d+)", text)[1]) for name in ("REG", "STACK", "LOCAL")}


if __name__ == "__main__":
    for case in sys.argv[1:]:
        name, capability, dtype, memory_format, channels, *absent = case.split(",")
        kernel, plan = compiled(
            name, int(capability), getattr(torch, dtype), memory_format, int(channels), absent
        )
        print(json.dumps({"case": case, **plan._asdict(), **resources(kernel)}), flush=True)
