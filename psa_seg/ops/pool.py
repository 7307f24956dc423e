"""The first pass over x: the two weighted sums from which every gate of the block follows.

Polarized Self-Attention (arXiv 2107.00782) projects every pixel and then sums over the pixels.
Both are linear, so the sum can go first: `Σ_n q_n (W_v x_n + b_v) = W_v g + b_v` with
`g = Σ_n q_n x_n`, because the query `q` sums to 1. What is left to project is one vector.
"""

import torch
from torch import Tensor


def pool(x: Tensor, w_q: Tensor, b_q: Tensor) -> tuple[Tensor, Tensor]:
    """Query-weighted and plain mean of the pixels of `x`.

    Args:
        x: feature map `[B, C, H, W]`, any dtype, contiguous or channels_last (neither is copied).
        w_q: query weights `[C]`.
        b_q: query bias `[1]`. A softmax ignores it, so its gradient is 0; it is an argument to
            stay in the graph, for DistributedDataParallel stops at a parameter without gradient.

    Returns:
        `g = Σ_n softmax_n(w_q·x_n + b_q) x_n` `[B, C]` and `μ = mean_n x_n`
        `[B, C]`, both in at least float32, in which they are accumulated.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32)).flatten(2)  # [B, C, N]
    # Expanded to a batched product, as a vector times a batch would be folded into a copy of x.
    w_q = w_q.to(x.dtype).expand(x.shape[0], 1, -1)  # [B, 1, C]
    query = (w_q @ x + b_q.to(x.dtype)).squeeze(1).softmax(dim=1)  # [B, N]
    # One product for both sums: x is read once, and its gradient is written once.
    weights = torch.stack((query, torch.full_like(query, 1 / x.shape[2])), dim=2)  # [B, N, 2]
    g, mean = (x @ weights).unbind(dim=2)
    return g, mean
