"""Tables of docs/reliability.md."""

from benchmarks.speed import newest


def faults() -> str:
    """Kinds of faults, how many were tried, how many runs went on and ended bit-equal."""
    rows, source = newest("faults_cpu")
    if not rows:
        return "**Not measured yet.**"
    lines = ["| fault | tried | ended bit-equal |", "|---|--:|--:|"]
    lines += [f"| {row['fault']} | {row['tried']} | {row['bit_equal']} |" for row in rows]
    tried, right = (sum(int(row[key]) for row in rows) for key in ("tried", "bit_equal"))
    lines += [f"| all | {tried} | {right} |", ""]
    return "\n".join([*lines, f"`python -m tests.faults`, {_about(rows[0])} (`{source}`)."])


def guard() -> str:
    """What looking at loss and gradients costs a step."""
    lines = ["| a step of 8 images | all of it | of that, the look | share |", "|---|--:|--:|--:|"]
    sources = []
    for name in ("guard_1_cpu", "guard_2_cpu"):
        rows, source = newest(name)
        sources.append(f"`{source}`")
        for row in rows:
            threads = row["device"].replace("1 threads", "1 thread")
            lines.append(
                f"| {row['crop']}, {row['processes']} of {threads} | {row['step_ms']} ms "
                f"| {row['guard_ms']} ms | {row['share_percent']} % |"
            )
    text = (
        "DeepLabV3+ MobileNetV2-D16; the look keeps buffers and asks the other process, too. "
        f"Medians of {rows[0]['steps']} steps; {_about(rows[0])} ({', '.join(sources)}; "
        "`python -m benchmarks.guard`). On a GPU: not measured."
    )
    return "\n".join([*lines, "", text])


def _about(row: dict[str, str]) -> str:
    return f"{row['date']}, {row['processor']}, torch {row['torch']}"
