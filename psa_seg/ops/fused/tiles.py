"""How the kernels cut x `[B, C, N]` into tiles, and tiles into programs."""

import functools
from typing import NamedTuple

import torch
from torch import Tensor


class Tile(NamedTuple):
    """What a kernel's tile is to be."""

    least: int  # elements
    most: int
    per_thread: int
    # Tiles in flight: one is computed while the others come into shared memory, as many as fit
    # there; before Ampere, none does.
    stages: int = 3


# In NCHW, where rows of pixels should be long, and in channels_last, where they are whole pixels.
# Measured by `benchmarks/tiles.py` with bfloat16 maps of 64, 512 and 2,048 channels on an H200:
# on none of these would another choice make a kernel faster by a fifth.
TILES = {
    "pool_forward": (Tile(4096, 16384, 64), Tile(4096, 4096, 64)),
    "dot": (Tile(4096, 32768, 64), Tile(4096, 4096, 64)),
    "gate_forward": (Tile(4096, 32768, 64), Tile(16384, 16384, 32)),
    "gate_backward": (Tile(4096, 32768, 64), Tile(4096, 4096, 64)),
    "pool_backward": (Tile(4096, 16384, 64), Tile(4096, 4096, 64)),
}
# Where 16 does not divide the length of a row: it is not loaded 16 bytes at a time. Not measured.
UNALIGNED = Tile(4096, 4096, 8, 1)
ROW_BYTES = 128  # wanted of a row of pixels in NCHW, as far as `most` allows
SHORTEST_BYTES = 32  # of one, whatever `most` says, in a tile of not more than:
LARGEST_BYTES = 65536
MOST_PIXELS, LEAST_PIXELS = 1024, 8  # LEAST_PIXELS: of the tiles of a small map
MOST_WARPS = 16
CHANNELS_PER_THREAD = 16  # at most, of the vectors that a program keeps
PROGRAMS = 4  # for each multiprocessor
MAPS_READ = {"gate_backward": 2, "pool_backward": 2}
SHARED_BYTES = 163 << 10  # of an A100, where there is no GPU to ask
FOR_REDUCTIONS = 16 << 10  # bytes of it
COMBINE = {"BLOCK_C": 64, "BLOCK_P": 32}  # of what they wrote


class Launch(NamedTuple):
    """One kernel's grid and shapes."""

    programs: int  # for each image
    tiles: int  # for each program
    block_c: int
    block_n: int
    warps: int
    stages: int


def launch(kernel: str, x: Tensor) -> Launch:
    """For `kernel` on `x`: as many programs as keep the GPU busy, and tiles no larger than fit."""
    batch, channels, pixels = x.shape
    nchw = x.stride(2) == 1
    aligned = (pixels if nchw else channels) % 16 == 0
    tile = TILES[kernel][0 if nchw else 1] if aligned else UNALIGNED
    block_c = power_of_two(channels)
    block_n = tile.least // block_c
    if nchw and aligned:
        row = min(ROW_BYTES // x.itemsize, tile.most // block_c)
        least = min(SHORTEST_BYTES, LARGEST_BYTES // block_c) // x.itemsize
        block_n = max(block_n, row, least)
    block_n = min(max(block_n, 1), MOST_PIXELS, power_of_two(pixels))
    # Small maps: smaller tiles rather than idle multiprocessors.
    multiprocessors, shared = gpu(x.device)
    wanted = PROGRAMS * multiprocessors
    while block_n > LEAST_PIXELS and batch * -(-pixels // block_n) < wanted:
        block_n //= 2
    programs, tiles = share(batch, -(-pixels // block_n), wanted)
    elements = block_c * block_n
    threads = max(elements // tile.per_thread, block_c // CHANNELS_PER_THREAD)
    warps = min(max(threads // 32, 1), MOST_WARPS)
    waiting = (shared - FOR_REDUCTIONS) // (MAPS_READ.get(kernel, 1) * elements * x.itemsize)
    return Launch(programs, tiles, block_c, block_n, warps, min(tile.stages, 1 + waiting))


def share(batch: int, tiles: int, wanted: int) -> tuple[int, int]:
    """Programs for each of `batch` images of `tiles`, and tiles for each program, as even."""
    each = -(-tiles * batch // wanted)
    return -(-tiles // each), each


def power_of_two(number: int) -> int:
    """The least that is not below `number`."""
    return 1 << (number - 1).bit_length()


@functools.cache
def gpu(device: torch.device) -> tuple[int, int]:
    """Its multiprocessors, and the bytes of shared memory that a program may have of one."""
    if device.type != "cuda":
        return 1, SHARED_BYTES  # the interpreter
    properties = torch.cuda.get_device_properties(device)
    least = properties.shared_memory_per_block  # ROCm says no more
    shared = getattr(properties, "shared_memory_per_block_optin", least)
    return properties.multi_processor_count, shared
