"""The second pass over x: both gates of Polarized Self-Attention, applied.

The spatial logit `s·(W_sv x_n + b_sv)` (arXiv 2107.00782, eq. 3) is linear in `x_n`, so it is
`u·x_n + β` with `u = W_svᵀ s`: the value map `[B, C/2, H, W]` is never made.
"""

import torch
from torch import Tensor


def gate(
    x: Tensor,
    a: Tensor | None = None,
    spatial: tuple[Tensor, Tensor] | None = None,
    layout: str = "parallel",
) -> Tensor:
    """`x_n ⊙ (a + m_n)` (parallel) or `x_n ⊙ a·m_n` (sequential), `m_n = σ(u·x_n + β)`.

    Args:
        x: feature map `[B, C, H, W]`, any dtype, contiguous or channels_last (neither is copied).
        a: channel gate `[B, C]`; None leaves `x_n m_n`.
        spatial: the spatial query projected back to the channels, `u` `[B, C]`, and the offset
            `β` `[B]`; None leaves `x_n ⊙ a`. In the sequential layout `u` already holds the
            factor `a`: `u·(a ⊙ x_n)`.
        layout: `parallel` or `sequential`; without effect unless both gates are there.

    Returns:
        `[B, C, H, W]` in the dtype and memory format of `x`, computed in at least float32.
    """
    dtype = x.dtype
    x = x.to(torch.promote_types(dtype, torch.float32))
    gated = x if a is None else x * a[:, :, None, None]
    if spatial is None:
        return gated.to(dtype)
    u, beta = spatial
    logits = u.unsqueeze(1) @ x.flatten(2) + beta[:, None, None]  # [B, 1, N]
    m = logits.sigmoid().unflatten(2, x.shape[2:])  # [B, 1, H, W]
    if a is None or layout == "sequential":
        return (gated * m).to(dtype)
    return torch.addcmul(gated, x, m).to(dtype)
