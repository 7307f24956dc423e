"""How the kernels cut x `[B, C, N]` into tiles, and tiles into programs."""

import functools
from typing import NamedTuple

import torch
from torch import Tensor

# Elements of a tile, and elements a thread, by kernel; 65,536 registers must do for two programs or
# more. Chosen by the compiler's register counts; `benchmarks/tiles.py` measures others on a GPU.
TILES = {
    "pool_forward": (8192, 32, 1),
    "dot": (8192, 32, 1),
    "gate_forward": (8192, 32, 1),
    "gate_backward": (8192, 16, 1),
    "pool_backward": (8192, 16, 1),
}
UNALIGNED = (4096, 8, 1)  # where rows do not begin at multiples of 16, nor loads have 16 bytes
LARGEST_BYTES = 32768  # of a tile: more, and registers are spilt to memory
SHORTEST_BYTES = 16  # of a row of pixels in NCHW, while that is small enough
MOST_PIXELS, LEAST_PIXELS = 1024, 8  # LEAST_PIXELS: of the tiles of a small map
MOST_WARPS = 16
PROGRAMS = 4  # for each multiprocessor
COMBINE = {"BLOCK_C": 64, "BLOCK_P": 32}  # of what they wrote


class Launch(NamedTuple):
    """One kernel's grid and shapes."""

    programs: int  # for each image
    tiles: int  # for each program
    block_c: int
    block_n: int
    warps: int
    stages: int  # tiles in flight: what is to come is loaded while one is computed


def launch(kernel: str, x: Tensor) -> Launch:
    """For `kernel` on `x`: as many programs as keep the GPU busy, and tiles no larger than fit."""
    batch, channels, pixels = x.shape
    nchw = x.stride(2) == 1
    aligned = (pixels if nchw else channels) % 16 == 0
    elements, elements_per_thread, stages = TILES[kernel] if aligned else UNALIGNED
    block_c = _power_of_two(channels)
    block_n = elements // block_c
    if nchw and aligned and block_c * SHORTEST_BYTES <= LARGEST_BYTES:
        block_n = max(block_n, SHORTEST_BYTES // x.itemsize)
    block_n = min(block_n, MOST_PIXELS, _power_of_two(pixels))
    # Small maps: smaller tiles rather than idle multiprocessors.
    wanted = PROGRAMS * _multiprocessors(x.device)
    while block_n > LEAST_PIXELS and batch * -(-pixels // block_n) < wanted:
        block_n //= 2
    warps = min(max(block_c * block_n // elements_per_thread // 32, 1), MOST_WARPS)
    tiles = -(-pixels // block_n)
    each = -(-tiles * batch // wanted)
    return Launch(-(-tiles // each), each, block_c, block_n, warps, stages)


def _power_of_two(number: int) -> int:
    """The least that is not below `number`."""
    return 1 << (number - 1).bit_length()


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1  # the interpreter
    return torch.cuda.get_device_properties(device).multi_processor_count
