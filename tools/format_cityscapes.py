"""A zip for Cityscapes' server, from a checkpoint or from predictions, and its check.

python tools/format_cityscapes.py CONFIG CHECKPOINT [--tta] [--out submission.zip]
python tools/format_cityscapes.py FOLDER [--ids train|label] [--out submission.zip]
python tools/format_cityscapes.py --check submission.zip
"""

import argparse
from pathlib import Path

from psa_seg.engine import tool


def main() -> None:
    """Read the command line, make a zip or check one."""
    parser = tool.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", nargs="*", help="CONFIG and CHECKPOINT, or a FOLDER of single-channel PNGs"
    )
    parser.add_argument("--check", type=Path, metavar="ZIP", help="look at this zip, and end")
    parser.add_argument("--out", type=Path, default=Path("submission.zip"), help="the zip")
    parser.add_argument("--tta", action="store_true", help="average over six scales and a flip")
    parser.add_argument(
        "--ids", choices=("train", "label"), help="what the PNGs of FOLDER hold, if it is in doubt"
    )
    parser.add_argument(
        "--images", type=Path, help="of the test split, for --check and FOLDER: names and sizes"
    )
    tool.common_arguments(parser)
    args = parser.parse_args()

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
