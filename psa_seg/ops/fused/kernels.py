"""The Triton kernels: each reads every tile of x once and keeps it in registers.

A program takes a run of tiles of one image, `BLOCK_C` (all channels) by `BLOCK_N` pixels, `STAGES`
of them in flight: the next are on their way while one is computed. It keeps the sums over its
pixels in registers, too, writes them once, at its end, and another kernel adds up what the programs
wrote, always in the same order: two runs give the same bits. x and its like share the strides of
channels and pixels, and NCHW and channels_last are the same code; offsets in an image have 32 bits.
Everything else is float32 and contiguous, `[B, C]` or `[B, N]`. Names in capitals are pointers, and
None where a part is not there.
"""

import triton
import triton.language as tl


@triton.jit
def _tile(start, c, in_c, pixels, stride_c, stride_n, BLOCK_N: tl.constexpr):
    """Pixels from `start`, which of them there are, which elements there are, and their offsets."""
    n = start + tl.arange(0, BLOCK_N)
    in_n = n < pixels
    inside = in_c[:, None] & in_n[None, :]
    return n, in_n, inside, c[:, None] * stride_c + n[None, :] * stride_n


@triton.jit
def pool_forward(
    X, W, LOGITS, STATS, SUMS, channels, pixels, tiles, stride_c, stride_n, x_b,
    BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """LOGITS `w·x_n`; of each program's pixels STATS `[B, P, 2]`, the largest logit and the sum of
    the exponentials below it, and SUMS `[B, P, 2, C]`, of x weighted by those, and of x.
    """
    image = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, BLOCK_C)
    in_c = c < channels
    X += image * x_b
    total = tl.zeros([BLOCK_C], tl.float32)
    if W is not None:
        w = tl.load(W + c, mask=in_c, other=0.0)
        weighted = tl.zeros([BLOCK_C], tl.float32)
        largest = float("-inf")
        mass = 0.0
    first = tl.program_id(0) * tiles * BLOCK_N
    end = tl.minimum(first + tiles * BLOCK_N, pixels)
    for start in tl.range(first, end, BLOCK_N, num_stages=STAGES):
        n, in_n, inside, tile = _tile(start, c, in_c, pixels, stride_c, stride_n, BLOCK_N)
        x = tl.load(X + tile, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(x, axis=1)
        if W is not None:
            logits = tl.sum(x * w[:, None], axis=0)
            tl.store(LOGITS + image * pixels + n, logits, mask=in_n)
            logits = tl.where(in_n, logits, float("-inf"))
            previous = largest
            largest = tl.maximum(previous, tl.max(logits, axis=0))
            decay = tl.exp(previous - largest)
            weights = tl.exp(logits - largest)
            mass = mass * decay + tl.sum(weights, axis=0)
            weighted = weighted * decay + tl.sum(x * weights[None, :], axis=1)
    program = image * tl.num_programs(0) + tl.program_id(0)
    SUMS += program * 2 * channels + c
    tl.store(SUMS + channels, total, mask=in_c)
    if W is not None:
        tl.store(SUMS, weighted, mask=in_c)
        tl.store(STATS + program * 2, largest)
        tl.store(STATS + program * 2 + 1, mass)


@triton.jit
def pool_combine(
    STATS, SUMS, G, MEAN, NORM, channels, pixels, programs,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """What the programs of `pool_forward` wrote of one image, as G, MEAN `[B, C]` and
    NORM `[B, 2]`, STATS of the whole image."""
    image = tl.program_id(1).to(tl.int64)
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = c < channels
    SUMS += image * programs * 2 * channels
    STATS += image * programs * 2
    total = tl.zeros([BLOCK_C], tl.float32)
    if G is not None:
        weighted = tl.zeros([BLOCK_C], tl.float32)
        largest = float("-inf")
        mass = 0.0
    for start in range(0, programs, BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        in_p = p < programs
        inside = in_p[:, None] & in_c[None, :]
        rows = SUMS + p[:, None] * 2 * channels + c[None, :]
        total += tl.sum(tl.load(rows + channels, mask=inside, other=0.0), axis=0)
        if G is not None:
            peaks = tl.load(STATS + p * 2, mask=in_p, other=float("-inf"))
            previous = largest
            largest = tl.maximum(previous, tl.max(peaks, axis=0))
            decay = tl.exp(previous - largest)
            weights = tl.exp(peaks - largest)
            masses = tl.load(STATS + p * 2 + 1, mask=in_p, other=0.0)
            mass = mass * decay + tl.sum(masses * weights, axis=0)
            sums = tl.load(rows, mask=inside, other=0.0)
            weighted = weighted * decay + tl.sum(sums * weights[:, None], axis=0)
    tl.store(MEAN + image * channels + c, total / pixels, mask=in_c)
    if G is not None:
        tl.store(G + image * channels + c, weighted / mass, mask=in_c)
        if tl.program_id(0) == 0:
            tl.store(NORM + image * 2, largest)
            tl.store(NORM + image * 2 + 1, mass)


@triton.jit
def dot(
    X, U, LOGITS, channels, pixels, tiles, stride_c, stride_n, x_b,
    BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """LOGITS `u·x_n`."""
    image = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, BLOCK_C)
    in_c = c < channels
    X += image * x_b
    u = tl.load(U + image * channels + c, mask=in_c, other=0.0)
    first = tl.program_id(0) * tiles * BLOCK_N
    end = tl.minimum(first + tiles * BLOCK_N, pixels)
    for start in tl.range(first, end, BLOCK_N, num_stages=STAGES):
        n, in_n, inside, tile = _tile(start, c, in_c, pixels, stride_c, stride_n, BLOCK_N)
        x = tl.load(X + tile, mask=inside, other=0.0).to(tl.float32)
        tl.store(LOGITS + image * pixels + n, tl.sum(x * u[:, None], axis=0), mask=in_n)


@triton.jit
def gate_forward(
    X, P, R, U, BETA, OUT, M, channels, pixels, tiles, stride_c, stride_n, x_b, out_b,
    BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """OUT `x ⊙ (p + r m)`; with U, M `σ(u·x_n + β)` is written, too; without M OUT is `x ⊙ p`."""
    image = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, BLOCK_C)
    in_c = c < channels
    X += image * x_b
    OUT += image * out_b
    p = tl.load(P + image * channels + c, mask=in_c, other=0.0)
    if M is not None:
        r = tl.load(R + image * channels + c, mask=in_c, other=0.0)
    if U is not None:
        u = tl.load(U + image * channels + c, mask=in_c, other=0.0)
        beta = tl.load(BETA + image)
    first = tl.program_id(0) * tiles * BLOCK_N
    end = tl.minimum(first + tiles * BLOCK_N, pixels)
    for start in tl.range(first, end, BLOCK_N, num_stages=STAGES):
        n, in_n, inside, tile = _tile(start, c, in_c, pixels, stride_c, stride_n, BLOCK_N)
        x = tl.load(X + tile, mask=inside, other=0.0).to(tl.float32)
        scale = p[:, None]
        if M is not None:
            if U is not None:
                m = tl.sigmoid(tl.sum(x * u[:, None], axis=0) + beta)
                tl.store(M + image * pixels + n, m, mask=in_n)
            else:
                m = tl.load(M + image * pixels + n, mask=in_n, other=0.0)
            scale = p[:, None] + r[:, None] * m[None, :]
        out = (x * scale).to(OUT.dtype.element_ty)
        tl.store(OUT + tile, out, mask=inside)


@triton.jit
def gate_backward(
    X, DOUT, R, M, T, DT, DP, DR, DU, TX, channels, pixels, tiles, stride_c, stride_n, x_b, d_b,
    BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """DT `[B, N]`, and each program's part of DP, DR and DU, `[B, P, C]`; without M, of DP.

    With T, a softmax between logits and M, DU is `Σ_n t_n dt_n y_n` and TX is `Σ_n t_n y_n`: what
    the softmax takes off needs a sum over all pixels first. There y is x less the first pixel,
    which changes nothing in exact numbers; with x, both would be large, and their difference small.
    """
    image = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, BLOCK_C)
    in_c = c < channels
    X += image * x_b
    DOUT += image * d_b
    dp = tl.zeros([BLOCK_C], tl.float32)
    dr = tl.zeros([BLOCK_C], tl.float32)
    du = tl.zeros([BLOCK_C], tl.float32)
    tx = tl.zeros([BLOCK_C], tl.float32)
    if M is not None:
        r = tl.load(R + image * channels + c, mask=in_c, other=0.0)
    if T is not None:
        origin = tl.load(X + c * stride_c, mask=in_c, other=0.0).to(tl.float32)
    first = tl.program_id(0) * tiles * BLOCK_N
    end = tl.minimum(first + tiles * BLOCK_N, pixels)
    for start in tl.range(first, end, BLOCK_N, num_stages=STAGES):
        n, in_n, inside, tile = _tile(start, c, in_c, pixels, stride_c, stride_n, BLOCK_N)
        x = tl.load(X + tile, mask=inside, other=0.0).to(tl.float32)
        dout = tl.load(DOUT + tile, mask=inside, other=0.0)
        product = x * dout.to(tl.float32)
        if DP is not None:
            dp += tl.sum(product, axis=1)
        if M is not None:
            m = tl.load(M + image * pixels + n, mask=in_n, other=0.0)
            if DR is not None:
                dr += tl.sum(product * m[None, :], axis=1)
            dt = tl.sum(product * r[:, None], axis=0) * m * (1 - m)
            tl.store(DT + image * pixels + n, dt, mask=in_n)
            if T is not None:
                t = tl.load(T + image * pixels + n, mask=in_n, other=0.0)
                x -= origin[:, None]
                tx += tl.sum(x * t[None, :], axis=1)
                dt *= t
            if DU is not None:
                du += tl.sum(x * dt[None, :], axis=1)
    part = (image * tl.num_programs(0) + tl.program_id(0)) * channels + c
    if DP is not None:
        tl.store(DP + part, dp, mask=in_c)
    if M is not None:
        if DR is not None:
            tl.store(DR + part, dr, mask=in_c)
        if DU is not None:
            tl.store(DU + part, du, mask=in_c)
        if T is not None:
            tl.store(TX + part, tx, mask=in_c)


@triton.jit
def pool_backward(
    X, DOUT, P, R, U, M, DT, DMEAN, W, DG, G, LOGITS, NORM, DX, DW,
    channels, pixels, tiles, stride_c, stride_n, x_b, d_b, dx_b,
    BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """DX `dout ⊙ (p + r m) + dt u + q dg + dl w + dμ / N` with `dl_n = q_n (dg·x_n - dg·g)`, and
    each program's part of DW, `Σ_n dl_n x_n` `[B, P, C]`; without W no terms of the query q.
    """
    image = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, BLOCK_C)
    in_c = c < channels
    X += image * x_b
    DOUT += image * d_b
    DX += image * dx_b
    row = image * channels + c
    p = tl.load(P + row, mask=in_c, other=0.0)
    r = tl.load(R + row, mask=in_c, other=0.0)
    u = tl.load(U + row, mask=in_c, other=0.0)
    dmean = tl.load(DMEAN + row, mask=in_c, other=0.0) / pixels
    if W is not None:
        w = tl.load(W + c, mask=in_c, other=0.0)
        dg = tl.load(DG + row, mask=in_c, other=0.0)
        # Less the first pixel, which changes nothing in exact numbers: see `gate_backward`.
        origin = tl.load(X + c * stride_c, mask=in_c, other=0.0).to(tl.float32)
        level = tl.sum(dg * (tl.load(G + row, mask=in_c, other=0.0) - origin), axis=0)
        largest = tl.load(NORM + image * 2)
        mass = tl.load(NORM + image * 2 + 1)
        dw = tl.zeros([BLOCK_C], tl.float32)
    first = tl.program_id(0) * tiles * BLOCK_N
    end = tl.minimum(first + tiles * BLOCK_N, pixels)
    for start in tl.range(first, end, BLOCK_N, num_stages=STAGES):
        n, in_n, inside, tile = _tile(start, c, in_c, pixels, stride_c, stride_n, BLOCK_N)
        if W is not None:
            x = tl.load(X + tile, mask=inside, other=0.0).to(tl.float32) - origin[:, None]
            logits = tl.load(LOGITS + image * pixels + n, mask=in_n, other=float("-inf"))
            query = tl.exp(logits - largest) / mass
            dl = query * (tl.sum(x * dg[:, None], axis=0) - level)
            dw += tl.sum(x * dl[None, :], axis=1)
        m = tl.load(M + image * pixels + n, mask=in_n, other=0.0)
        dt = tl.load(DT + image * pixels + n, mask=in_n, other=0.0)
        dout = tl.load(DOUT + tile, mask=inside, other=0.0)
        dx = dout.to(tl.float32) * (p[:, None] + r[:, None] * m[None, :])
        dx += u[:, None] * dt[None, :] + dmean[:, None]
        if W is not None:
            dx += dg[:, None] * query[None, :] + w[:, None] * dl[None, :]
        tl.store(DX + tile, dx.to(DX.dtype.element_ty), mask=inside)
    if W is not None:
        part = (image * tl.num_programs(0) + tl.program_id(0)) * channels + c
        tl.store(DW + part, dw, mask=in_c)
