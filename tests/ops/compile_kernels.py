"""Compile the Triton kernels for GPUs that need not be there, and print what each uses, in JSON.

A process of its own, because `TRITON_INTERPRET` acts when a kernel is decorated. A case is the
kernel, compute capability, dtype, memory format, channels, pixels, and the arguments that Triton
takes for constants: pointers that are None, and integers that are 1.

    python -m tests.ops.compile_kernels pool_forward,90,bfloat16,nchw,512,32768,W,LOGITS,tiles
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
from psa_seg.ops.fused.tiles import COMBINE, launch

TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
MAPS = ("X", "DOUT", "OUT", "DX")  # the pointers to what has the dtype of x
UNALIGNED = ("tiles", "programs", "BETA")


def compiled(kernel, capability, dtype, memory_format, channels, pixels, constants):
    """`kernel` for 8 maps of `channels` and `pixels`, as a launch would specialise it."""
    function = getattr(kernels, kernel)
    x = torch.empty(8, channels, pixels, dtype=dtype, device="meta")
    if memory_format == "nhwc":
        x = torch.empty(8, pixels, channels, dtype=dtype, device="meta").transpose(1, 2)
    if kernel == "pool_combine":
        known, warps = COMBINE, 4
    else:
        plan = launch(kernel, x)
        known, warps = {"BLOCK_C": plan.block_c, "BLOCK_N": plan.block_n}, plan.warps
        known["STAGES"] = plan.stages
        known |= {"stride_n" if memory_format == "nchw" else "stride_c": 1}
    known = known | {name: None if name.isupper() else 1 for name in constants}
    lengths = {"channels": channels, "stride_n": channels, "pixels": pixels, "stride_c": pixels}
    lengths |= dict.fromkeys(("x_b", "d_b", "out_b", "dx_b"), channels * pixels)
    signature, attributes = {}, {}
    for index, name in enumerate(function.arg_names):
        if name in known:
            signature[name] = "constexpr"
        else:
            pointer = f"*{TYPES[dtype] if name in MAPS else 'fp32'}"
            signature[name] = pointer if name.isupper() else "i32"
            if name not in UNALIGNED and lengths.get(name, 16) % 16 == 0:
                attributes[index,] = [["tt.divisibility", 16]]
    source = ASTSource(function, signature, constexprs=known, attrs=attributes)
    return triton.compile(source, GPUTarget("cuda", capability, 32), options={"num_warps": warps})


def resources(kernel):
    """Registers a thread, and bytes of them in memory: what cuobjdump reads in the cubin."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        text = subprocess.check_output([tool, "-res-usage", file.name], text=True)
    return {name: int(re.search(rf"{name}:(\d+)", text)[1]) for name in ("REG", "STACK", "LOCAL")}


if __name__ == "__main__":
    for case in sys.argv[1:]:
        name, capability, dtype, memory_format, channels, pixels, *constants = case.split(",")
        types = {str(known).removeprefix("torch."): known for known in TYPES}
        sizes = int(channels), int(pixels)
        kernel = compiled(name, int(capability), types[dtype], memory_format, *sizes, constants)
        used = resources(kernel) | {"SHARED": kernel.metadata.shared}
        print(json.dumps({"case": case} | used), flush=True)
