"""The words around generated figures, in English and in Chinese."""

from typing import NamedTuple

WHY = """\
- **Exact and cheap.** The output and every gradient are the paper's, to rounding. On an NVIDIA \
{device}, forward and backward are {least:.0f} to {most:.0f} times as fast as the textbook's, and \
take {low:.1f} to {high:.1f} times as long as squeeze-and-excitation (SE); they need at most \
{memory:.0f} % of the textbook's memory. A training step of DeepLabV3+ R-50 takes {head:.1f} % \
longer with PSA in the head, and {blocks:.1f} % longer with PSA in every block.
- **Into trained networks.** It can start as the identity: the first outputs are the plain \
network's, bit for bit.
- **Results one can trust.** Models that differ in the attention alone start from equal weights \
and see equal crops, so differences are paired by seed, and every figure comes with its interval, \
its cost and its record."""
SPEED_ZH = """\
输出和每一个梯度都与论文相同，只差舍入误差。在 NVIDIA {device} 上，\
前向加反向的耗时是教科书式实现的 {most:.0f} 分之一到 {least:.0f} 分之一，\
是 SE 的 {low:.1f} 到 {high:.1f} 倍；内存不超过教科书式实现的 {memory:.0f}%。\
DeepLabV3+ R-50 的一个训练步，把 PSA 放在解码头时慢 {head:.1f}%，放在每个块里时慢 {blocks:.1f}%。"""
WHY_ZH = f"""\
- **精确而便宜。** {SPEED_ZH}
- **可接入训练好的网络。** 它可以初始化为恒等映射：最初的输出与不带注意力的网络逐比特相同。
- **结果可信。** 只有注意力不同的模型从相同的权重开始，使用相同的裁剪，\
因此可以按种子做配对比较；每个数字都带有区间、开销和记录。"""

SUMMARY = (
    "| data | attention | plain | with it | difference, 95 % interval |",
    "Mean ± standard deviation over seeds, in percent.",
    " {data}: {network}, {steps} steps, {seeds} seeds.",
)
SUMMARY_ZH = (
    "| 数据 | 注意力 | 不带注意力 | 带注意力 | 差异及其 95% 区间 |",
    "多个随机种子的均值 ± 标准差，百分数。",
    "{data}：{network}，{steps} 步，{seeds} 个种子。",
)


class Forms(NamedTuple):
    """The words of the table of forms: what psa_seg/ops/naive.py has line by line."""

    heading: str
    rows: dict[tuple[str, str], tuple[str, str]]  # what it is, spatial gate before its sigmoid
    between: str
    note: str


FORMS = Forms(
    "| form, layout | what it is | spatial gate, before its sigmoid | that gate at the start "
    "| parameters | MFLOPs |",
    {
        ("paper", "parallel"): ("the paper's eq. 4; the popular port, most blog posts", "s·v_n"),
        ("paper", "sequential"): ("the paper's eq. 5; the same port", "s·v_n, of the gated map"),
        ("official", "parallel"): (
            "released as `PSA_p`: a channel gate without norm",
            "a softmax over the *pixels* of q·v_n",
        ),
        ("official", "sequential"): (
            "released as `PSA_s`: a perceptron in its channel gate",
            "q·θ_n, θ a softmax over the *pixels* of each channel of v",
        ),
    },
    "{} to {}",
    "v_n: values of a pixel; q: mean query; s: its softmax over channels. For a map of {size} of "
    "noise.",
)
FORMS_ZH = Forms(
    "| 形式，布局 | 是什么 | sigmoid 之前的空间门 | 开始时的空间门 | 参数 | MFLOPs |",
    {
        ("paper", "parallel"): ("论文的式 (4)；流行的移植版，多数博客", "s·v_n"),
        ("paper", "sequential"): ("论文的式 (5)；同一移植版", "s·v_n，取自经过通道门的特征图"),
        ("official", "parallel"): (
            "发布为 `PSA_p`：通道门没有归一化",
            "q·v_n 在**像素**上的 softmax",
        ),
        ("official", "sequential"): (
            "发布为 `PSA_s`：通道门里有一个感知机",
            "q·θ_n，θ 是 v 的每个通道在**像素**上的 softmax",
        ),
    },
    "{} 到 {}",
    "v_n：像素的值；q：平均查询；s：它在通道上的 softmax。特征图为 {size} 的噪声。",
)
