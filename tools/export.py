"""Write a trained model as ONNX, or as .pt2 of torch.export, and compare the two.

python tools/export.py iter_80000.pth model.onnx
"""

from pathlib import Path

from psa_seg import kinds
from psa_seg.engine import given, tool


def main() -> None:
    """Read the command line, export, compare, time."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="Trained weights, such as iter_80000.pth; they tell their config."
    )
    parser.add_argument("out", type=Path, help="New file, .onnx or .pt2.")
    parser.add_argument(
        "--config", help="Config in place of the checkpoint's; it is a program, and is run."
    )
    parser.add_argument(
        "--scores", action="store_true", help="Give out probabilities of all classes, too."
    )
    parser.add_argument(
        "--images",
        type=tool.not_empty,
        help="Pictures on which to compare the two (default: validation images, or drawn ones).",
    )
    parser.add_argument(
        "--int8",
        type=tool.not_empty,
        metavar="PICTURES",
        help="Write OUT.int8.onnx, too; these pictures give the ranges of its numbers.",
    )
    parser.add_argument(
        "--no-latency", action="store_true", help="Do not measure how long a picture takes."
    )
    tool.trust_argument(parser)
    args = parser.parse_args()
    places = [given.Place("CHECKPOINT", args.checkpoint, given.OF_CHECKPOINTS)]
    given.check("export", places, {kinds.CONFIG: "export CHECKPOINT OUT.onnx --config {}"})

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
