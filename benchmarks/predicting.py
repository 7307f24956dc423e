"""The tables of docs/predict.md: what labelling a folder costs, and what tiles change."""

from benchmarks.speed import newest, told


def prediction() -> str:
    """Speed and memory as multiples of upstream's."""
    rows, source = newest("prediction_cpu")
    lines = ["| network | pictures | speed | peak memory |", "|---|---|--:|--:|"]
    for row in rows:
        if row["side"] == "ours":
            ratios = f"{float(row['speed_ratio']):.2f} x | {float(row['memory_ratio']):.2f} x"
            lines.append(f"| {row['network']} | {row['images']} | {ratios} |")
    return "\n".join(
        [
            *lines,
            "",
            "Multiples of `MMSegInferencer`'s with MMSegmentation's own segmentor, label maps "
            "written as PNGs, random weights, synthetic pictures. Medians of "
            f"{rows[0]['runs']} runs in turn; {told(rows[0])} (`{source}`; "
            "`python -m benchmarks.prediction`). On a GPU: not measured.",
        ]
    )


def tiles() -> str:
    """What tiles change, by network and size."""
    rows, source = newest("prediction_tiled_cpu")
    heading = "| network | attentions | tile | pixels that differ from the whole's | mIoU |"
    lines = [heading, "|---|--:|--:|--:|--:|"]
    for row in rows:
        differ = f"{float(row['pixels_differing_percent']):.2f} %"
        cells = (
            row["network"],
            row["attentions"],
            row["tile"],
            differ,
            f"{float(row['mIoU']):.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Validation images, {rows[0]['images']}, as the networks see them: {rows[0]['seen']}; "
            f"after {rows[0]['steps']} steps of training, far from done. {told(rows[0])} "
            f"(`{source}`; `python -m benchmarks.prediction_tiled`).",
        ]
    )
