"""Turn others' checkpoints into ours, and back, or tell what a checkpoint is.

python tools/convert_checkpoint.py identify FILE_OR_MODULE
python tools/convert_checkpoint.py port SOURCE OUT --layout parallel --rename psa.=attention.
python tools/convert_checkpoint.py official SOURCE OUT [--config CONFIG] [--rename module.=]
python tools/convert_checkpoint.py torchvision SOURCE OUT [--config CONFIG]
python tools/convert_checkpoint.py deeplabv3plus SOURCE OUT --config CONFIG
"""

import argparse
import functools
import sys
from pathlib import Path

from psa_seg.checkpoints.names import KINDS, LAYOUTS
from psa_seg.engine import tool

IDENTIFY = "identify"


def pair(text: str) -> tuple[str, str]:
    """OLD and NEW of `OLD=NEW`; either may be empty."""
    old, equals, new = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new


def kind_of(text: str) -> str:
    """The first word: whose a checkpoint is."""
    if Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is a file, and goes after: KIND {text}")
    return text


def main() -> None:
    """Read the command line, convert."""
    if sys.argv[1:2] == [IDENTIFY]:
        identify()
        return
    parser = tool.Parser(description=__doc__)
    parser.add_argument(
        "kind",
        type=kind_of,
        choices=(IDENTIFY, *KINDS),
        help="Whose checkpoint SOURCE is, or OUT becomes with --back.",
    )
    parser.add_argument("source", type=Path, help="Checkpoint to convert; it is only read.")
    parser.add_argument("out", type=Path, help="New file for the converted one.")
    parser.add_argument("--back", action="store_true", help="Convert from ours to theirs.")
    parser.add_argument("--config", help="Config whose model, or backbone, the result has to fit.")
    tool.override_argument(parser)
    parser.add_argument(
        "--layout", choices=LAYOUTS, help="Say which of the port's two classes it is of."
    )
    parser.add_argument(
        "--rename",
        nargs="+",
        type=pair,
        default=[],
        metavar="OLD=NEW",
        help="Replace these beginnings of names; NEW may be empty.",
    )
    parser.add_argument(
        "--drop",
        nargs="+",
        default=[],
        metavar="NAME",
        help="Leave out names that begin so, after --rename.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Say what would be done, and write nothing."
    )
    parser.add_argument(
        "--verbose", action="store_true", help="List all that is renamed, and not the first alone."
    )
    tool.trust_argument(parser)
    order = vars(parser.parse_args())

    tool.import_quietly()
    from psa_seg.checkpoints.convert import Order, convert
    from psa_seg.engine import looking

    dry_run, options = order.pop("dry_run"), order.pop("cfg_options")
    order["is_brief"] = not order.pop("verbose")
    build = functools.partial(looking.model_of, options=options)
    if options and not order["config"]:
        parser.error("--cfg-options are of a --config: name it")
    print("\n".join(convert(Order(**order), build, dry_run)))


def identify() -> None:
    """Read the rest of the command line, and tell what there is."""
    parser = tool.Parser(
        description="Tell what a checkpoint, or a class, is: whose, of which form and layout.\n\n"
        f"python tools/convert_checkpoint.py {IDENTIFY} FILE_OR_MODULE",
        prog=f"{Path(sys.argv[0]).name} {IDENTIFY}",
    )
    parser.add_argument(
        "what",
        metavar="FILE_OR_MODULE",
        help="Checkpoint, or a class: FILE.py:CLASS, PACKAGE.MODULE:CLASS.",
    )
    tool.trust_argument(parser)
    what = parser.parse_args(sys.argv[2:]).what

    tool.import_quietly()
    from psa_seg.checkpoints import identify as known
    from psa_seg.checkpoints import reading
    from psa_seg.engine import classes

    if Path(what).is_file() and Path(what).suffix != ".py":
        checkpoint = reading.load_checkpoint(what)
        found = known.identify(reading.weights_in(checkpoint, Path(what)))
        lines = known.lines(found, known.configured(reading.config_of(checkpoint)))
    else:
        lines = classes.about(what)
    print("\n".join(lines))


if __name__ == "__main__":
    tool.run(main)
