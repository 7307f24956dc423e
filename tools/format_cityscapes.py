"""Write a zip for Cityscapes' server, from a checkpoint or from predictions, or check one.

python tools/format_cityscapes.py CONFIG CHECKPOINT [--tta] [--out submission.zip]
python tools/format_cityscapes.py FOLDER [--ids train|label] [--out submission.zip]
python tools/format_cityscapes.py --check submission.zip
"""

from pathlib import Path

from psa_seg import kinds
from psa_seg.engine import given, tool


def main() -> None:
    """Read the command line, make a zip or check one."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument(
        "source", nargs="*", help="CONFIG and CHECKPOINT, or a FOLDER of single-channel PNGs."
    )
    parser.add_argument("--check", type=Path, metavar="ZIP", help="Check this zip, and write none.")
    parser.add_argument(
        "--out", type=Path, default=Path("submission.zip"), help="New zip (default: %(default)s)."
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="Average over scales and flips of each image: better, and slower.",
    )
    parser.add_argument(
        "--ids",
        choices=("train", "label"),
        help="Say which ids the PNGs of FOLDER hold, if they do not tell.",
    )
    parser.add_argument(
        "--images",
        type=Path,
        help="Folder of the test images, for --check and FOLDER (default: of CITYSCAPES_ROOT).",
    )
    tool.common_arguments(parser)
    args = parser.parse_args()
    wanted = [("CONFIG", [kinds.CONFIG]), ("CHECKPOINT", given.OF_CHECKPOINTS)]
    if len(args.source) == 1:
        wanted = [("FOLDER", given.OF_PICTURES)]
    places = [given.Place(n, path, k) for path, (n, k) in zip(args.source, wanted, strict=False)]
    both = "format-cityscapes CONFIG CHECKPOINT"
    given.check("format-cityscapes", places, {kinds.CONFIG: both, kinds.CHECKPOINT: both})

    tool.import_quietly()
    from psa_seg.engine import distributed, prepare, submit

    if args.check and not args.source:
        submit.check(args.check, args.images)
    elif len(args.source) == 1 and not args.check:
        submit.from_folder(Path(args.source[0]), args.out, args.images, args.ids)
    elif len(args.source) == 2 and not args.check:
        args.config, checkpoint = args.source
        distributed.start(args.launcher)
        config = distributed.once(lambda: prepare.read(args), each_node=True)
        submit.from_checkpoint(config, checkpoint, args.out, args.tta)
    else:
        parser.error("give CONFIG CHECKPOINT, or FOLDER, or --check ZIP")


if __name__ == "__main__":
    tool.run(main)
