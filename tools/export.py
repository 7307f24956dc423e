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
    parser.add_argument(
        "--images",
        type=tool.not_empty,
        help="pictures on which the file is compared with the model",
    )
    parser.add_argument(
        "--int8",
        type=tool.not_empty,
        metavar="PICTURES",
        help="OUT.int8.onnx, too: ranges are those on these pictures",
    )
    parser.add_argument("--no-latency", action="store_true", help="do not time it")
    tool.trust_argument(parser)
    args = parser.parse_args()

    tool.import_quietly()
    from psa_seg import files
    from psa_seg.errors import UserError
    from psa_seg.inference import export, latency, quantized
    from psa_seg.inference.segmenter import Segmenter

    export.require_place(args.out)
    kind = args.out.suffix
    small, beside = args.out.with_suffix(f".int8{kind}"), Path(f"{args.out}.latency.txt")
    for path in (*[beside] * (not args.no_latency), *[small] * bool(args.int8)):
        files.must_be_new(path)
    if args.int8:
        export.pictures_in(args.int8)
        if kind != ".onnx":
            raise UserError(f"--int8 is onnxruntime's, and not for {args.out}\n  do         .onnx")
    segmenter = Segmenter(args.checkpoint, args.config, "cpu")
    ranges = export.seen(segmenter, args.int8, quantized.CALIBRATION) if args.int8 else []
    found, portable, runs = export.export(segmenter, args.out, args.scores, args.images)
    print(
        f"wrote {args.out}: beside the model, {100 * found.labels:.4f} % of the pixels differ at "
        f"most" + f", and scores by {found.scores:.1e}" * args.scores
    )
    own = "its validation images" if segmenter.validation() else "drawn pictures"
    print(
        f"on {args.images or own}:", ", ".join("x".join(map(str, shape)) for shape in found.shapes)
    )
    timed = {kind.lstrip("."): runs}
    if args.int8:
        cost, timed["onnx, int8"] = quantized.quantize(segmenter, args.out, runs, small, ranges)
        print(cost.text(small, args.out))
    if not args.no_latency:
        _, _, height, width = found.shapes[0]
        size = (height, width)
        text = latency.table(latency.measure(portable, timed, size), size)
        print(text)
        files.write(beside, f"{text}\n", new=True)


if __name__ == "__main__":
    tool.run(main)
