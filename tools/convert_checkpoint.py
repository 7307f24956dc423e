"""Others' checkpoints to ours, and back.

python tools/convert_checkpoint.py port SOURCE OUT --layout parallel --rename psa.=attention.
python tools/convert_checkpoint.py official SOURCE OUT [--config CONFIG] [--rename module.=]
python tools/convert_checkpoint.py torchvision SOURCE OUT [--config CONFIG]
python tools/convert_checkpoint.py deeplabv3plus SOURCE OUT --config CONFIG
"""

import argparse
from pathlib import Path

from psa_seg.checkpoints.names import KINDS, LAYOUTS
from psa_seg.engine import tool


def pair(text: str) -> tuple[str, str]:
    """OLD and NEW of `OLD=NEW`; either may be empty."""
    old, equals, new = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new


def main() -> None:
    """Read the command line, convert."""
    parser = tool.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS, help="whose checkpoint it is, or becomes")
    parser.add_argument("source", type=Path, help="the checkpoint; it is only read")
    parser.add_argument("out", type=Path, help="a new file")
    parser.add_argument("--back", action="store_true", help="from ours to theirs")
    parser.add_argument("--config", help="whose model, or backbone, ours has to fit")
    parser.add_argument("--layout", choices=LAYOUTS, help="which of the port's classes it is of")
    parser.add_argument(
        "--rename",
        nargs="+",
        type=pair,
        default=[],
        metavar="OLD=NEW",
        help="beginnings of names; NEW may be empty",
    )
    parser.add_argument(
        "--drop", nargs="+", default=[], metavar="NAME", help="... left out, after --rename"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and end")
    tool.trust_argument(parser)
    order = vars(parser.parse_args())

    tool.import_quietly()
    from psa_seg.checkpoints.convert import Order, convert
    from psa_seg.engine import looking

    dry_run = order.pop("dry_run")
    print("\n".join(convert(Order(**order), looking.model_of, dry_run)))


if __name__ == "__main__":
    tool.run(main)
