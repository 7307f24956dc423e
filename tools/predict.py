"""Label pictures: python tools/predict.py CHECKPOINT PICTURES... --out DIR."""

import sys
from pathlib import Path

from psa_seg.engine import tool
from psa_seg.inference import KINDS


def main() -> None:
    """Read the command line, predict."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("checkpoint", help="whose config, which it holds, is read as data")
    parser.add_argument(
        "pictures", nargs="+", help="files, folders, patterns, lists (.txt), videos"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="new, or empty")
    parser.add_argument(
        "--save",
        nargs="+",
        choices=KINDS,
        default=["overlay"],
        metavar="KIND",
        help=f"what of each picture: {', '.join(KINDS)}; a folder each (default: overlay)",
    )
    parser.add_argument("--config", help="in place of the checkpoint's; it is a program, and run")
    parser.add_argument("--tta", action="store_true", help="average over its scales and flips")
    parser.add_argument(
        "--tile",
        type=int,
        default=0,
        metavar="SIZE",
        help="square by square: for pictures that memory does not hold; 1024, say",
    )
    parser.add_argument("--batch", type=int, default=1, help="pictures of one size at once")
    parser.add_argument("--device", help="cpu, cuda:1 (default: a GPU, if there is one)")
    parser.add_argument("--opacity", type=float, default=0.5, help="of the overlay's colours, 0-1")
    tool.trust_argument(parser)
    args = parser.parse_args()
    if not 0 <= args.opacity <= 1:
        parser.error("--opacity is a number from 0 to 1")

    tool.import_quietly()
    from psa_seg.inference.predict import Order, predict

    order = {**vars(args), "kinds": tuple(dict.fromkeys(args.save))}
    del order["save"]
    sys.exit(1 if predict(Order(**order)) else 0)


if __name__ == "__main__":
    tool.run(main)
