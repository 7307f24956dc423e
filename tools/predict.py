"""Label pictures and videos with a trained model.

python tools/predict.py iter_80000.pth photos --out labelled
"""

import shlex
import sys
from pathlib import Path

from psa_seg import kinds
from psa_seg.engine import given, tool
from psa_seg.inference import KINDS


def main() -> None:
    """Read the command line, predict."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="Trained weights, such as iter_80000.pth; they tell their config."
    )
    parser.add_argument(
        "pictures", nargs="+", help="Pictures and videos: files, folders, patterns, lists (.txt)."
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="Folder for the results, new or empty.",
    )
    parser.add_argument(
        "--save",
        nargs="+",
        choices=KINDS,
        default=["overlay"],
        metavar="KIND",
        help=f"What to write of each, in a folder each: {', '.join(KINDS)} (default: overlay).",
    )
    parser.add_argument(
        "--config", help="Config in place of the checkpoint's; it is a program, and is run."
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="Average over scales and flips of each picture: better, and slower.",
    )
    parser.add_argument(
        "--tile",
        type=int,
        default=0,
        metavar="SIZE",
        help="Work in squares of this side, for large pictures: 1024, say (default: 0, whole).",
    )
    parser.add_argument(
        "--batch", type=int, default=1, help="Pictures of one size at once (default: %(default)s)."
    )
    parser.add_argument(
        "--device", help="Where to compute: cpu, cuda, cuda:1 (default: a GPU, if there is one)."
    )
    parser.add_argument(
        "--opacity",
        type=float,
        default=0.5,
        help="Opacity of the overlay's colours, 0 to 1 (default: %(default)s).",
    )
    tool.trust_argument(parser)
    args = parser.parse_args()
    if not 0 <= args.opacity <= 1:
        parser.error("--opacity is a number from 0 to 1")
    places = [given.Place("CHECKPOINT", args.checkpoint, given.OF_CHECKPOINTS)]
    places += [given.Place("PICTURES", path, given.OF_PICTURES) for path in args.pictures]
    with_config = "predict CHECKPOINT PICTURES --config {} --out DIR"
    given.check(
        "predict", places, {kinds.CONFIG: with_config}, f"--out {shlex.quote(str(args.out))}"
    )

    tool.import_quietly()
    from psa_seg.inference.predict import Order, predict

    order = {**vars(args), "kinds": tuple(dict.fromkeys(args.save))}
    del order["save"]
    sys.exit(1 if predict(Order(**order)) else 0)


if __name__ == "__main__":
    tool.run(main)
