"""Train an attended network in two processes, each way that PyTorch distributes: prints what fits.

torchrun --nproc_per_node=2 -m tests.attention.two_processes
"""

import copy
import functools
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy
from torch.nn.parallel import DistributedDataParallel

from psa_seg import PolarizedSelfAttention, attend_in_blocks

CPU = torch.device("cpu")
FSDP = functools.partial(FullyShardedDataParallel, device_id=CPU)


class BasicBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return x + self.conv2(self.conv1(x).relu())


def network():
    """Of an attention in a block, and one by itself, with γ."""
    torch.manual_seed(0)
    made = nn.Sequential(BasicBlock(), PolarizedSelfAttention(8, "official", residual=True))
    attend_in_blocks(made, PolarizedSelfAttention)
    nn.init.constant_(made[1].gamma, 0.5)
    return made


def part_wrapped(wrap, name):
    """Around one part of the attention that stands by itself."""

    def around(made):
        setattr(made[1], name, wrap(getattr(made[1], name)))
        return DistributedDataParallel(made) if wrap is not fully_shard else made

    return around


def sharded(made, of=lambda module: False):
    for module in reversed([m for m in made.modules() if of(m)]):  # from the inside
        fully_shard(module)
    return fully_shard(made)


def is_part(module):
    return isinstance(module, nn.Conv2d | nn.LayerNorm)


WAYS = {
    "DDP": DistributedDataParallel,
    "DDP, one part by itself": part_wrapped(DistributedDataParallel, "conv_v_left"),
    "FSDP1": FSDP,
    "FSDP1, original parameters": functools.partial(FSDP, use_orig_params=True),
    **{
        f"FSDP1, parts by themselves, {name}": functools.partial(
            FSDP,
            auto_wrap_policy=functools.partial(lambda_auto_wrap_policy, lambda_fn=is_part),
            use_orig_params=original,
        )
        for name, original in (("flat", False), ("original", True))
    },
    "FSDP2": sharded,
    "FSDP2, by attention": functools.partial(
        sharded, of=lambda module: isinstance(module, PolarizedSelfAttention)
    ),
    "FSDP2, by part": functools.partial(sharded, of=is_part),
}


def trained(model):
    """Outputs of three steps: by the third, every gradient has shown."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 8, 5, 6, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    outputs = []
    for _ in range(3):
        optimizer.zero_grad()
        out = model(x)
        (out - x.flip(0)).square().mean().backward()
        optimizer.step()
        outputs.append(out.detach())
    return torch.stack(outputs)


def main():
    dist.init_process_group("gloo")
    expected = trained(network())
    for name, way in WAYS.items():
        actual = trained(way(copy.deepcopy(network())))
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5, msg=name)
        if dist.get_rank() == 0:
            print(name, flush=True)
    dist.barrier()
    os._exit(0)  # gloo's threads may still be about their ends: a race that aborts a process


if __name__ == "__main__":
    main()
