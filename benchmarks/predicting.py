"""The tables of docs/predict.md: what labelling a folder costs, what tiles and integers change."""

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


def int8() -> str:
    """What integers change, by network."""
    rows, source = newest("prediction_int8_cpu")
    lines = [
        "| network | attentions | numbers | labels that differ | mIoU | file | one image |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = (
            row["network"],
            row["attentions"],
            row["numbers"],
            f"{float(row['pixels_differing_percent']):.2f} %",
            f"{float(row['mIoU']):.2f}",
            f"{float(row['MB']):.1f} MB",
            f"{float(row['ms']):.1f} ms",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Validation images, {rows[0]['images']}, of {rows[0]['seen']}; ranges of "
            f"{rows[0]['calibration']} training images; after {rows[0]['steps']} steps of "
            f"training. onnxruntime {rows[0]['onnxruntime']}, {told(rows[0])} (`{source}`; "
            "`python -m benchmarks.prediction_int8`). On processors with 8-bit units (VNNI, Arm's "
            "dot products): not measured.",
        ]
    )
