"""Write a trained segmentor as ONNX, or .pt2: python tools/export.py CHECKPOINT OUT.onnx."""

from pathlib import Path

from psa_seg.engine import tool


def main() -> None:
    """Read the command line, export, compare, time."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("checkpoint", help="whose config, which it holds, is read as data")
    parser.add_argument("out", type=Path, help="new: .onnx, or .pt2 of torch.export")
    parser.add_argument("--config", help="in place of the checkpoint's; it is a program, and run")
    parser.add_argument("--scores", action="store_true", help="probabilities come out, too")
    parser.add_argument("--images", help="pictures on which the file is compared with the model")
    parser.add_argument("--no-latency", action="store_true", help="do not time it")
    args = parser.parse_args()

    tool.import_quietly()
    from psa_seg import files
    from psa_seg.inference import export, latency
    from psa_seg.inference.segmenter import Segmenter

    beside = args.out.with_name(f"{args.out.name}.latency.txt")
    files.must_be_new(beside)
    segmenter = Segmenter(args.checkpoint, args.config, "cpu")
    found, portable, runs = export.export(segmenter, args.out, args.scores, args.images)
    print(
        f"wrote {args.out}: beside the model, {100 * found.labels:.4f} % of the pixels differ at "
        f"most" + f", and scores by {found.scores:.1e}" * args.scores
    )
    print("on", ", ".join("x".join(map(str, shape)) for shape in found.shapes))
    if not args.no_latency:
        _, _, height, width = found.shapes[0]
        size = (height, width)
        rows = latency.measure(portable, runs, args.out.suffix.lstrip("."), size)
        text = latency.table(rows, size)
        print(text)
        files.write(beside, f"{text}\n", new=True)


if __name__ == "__main__":
    tool.run(main)
