"""Look at machine, config, data and checkpoint without training, and say what is wrong.

python tools/doctor.py --data photos --show sheet.png
"""

import contextlib
import sys
from pathlib import Path

from psa_seg import kinds, shipped
from psa_seg.engine import given, tool

LIGHT = shipped.CONFIGS / "psa_deeplabv3plus_mobilenetv2_cityscapes.py"


def main() -> None:
    """Read the command line, look, print a table."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument(
        "config",
        nargs="?",
        help="Config to look at: its name, such as psa_deeplabv3plus_cityscapes, or a file "
        "(default: none).",
    )
    parser.add_argument(
        "--checkpoint", help="Weights to look at, of the config's model if one is given."
    )
    parser.add_argument(
        "--json", action="store_true", help="Print the table as JSON, for programs."
    )
    parser.add_argument(
        "--strict", action="store_true", help="End with exit status 1 if there is a warning."
    )
    parser.add_argument(
        "--show",
        type=Path,
        metavar="PNG",
        help="Draw some images with their masks into this .png, or, if it is there, NAME_2.png.",
    )
    parser.add_argument(
        "--suggest-weights",
        action="store_true",
        help="Suggest weights of the classes for the loss.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="YAML",
        help="New file for a first data.yaml (default: data.yaml in the --data FOLDER).",
    )
    tool.common_arguments(parser)
    args = parser.parse_args()
    given.check(
        "doctor",
        [given.Place("CONFIG", args.config, [kinds.CONFIG])] if args.config else [],
        {
            **dict.fromkeys((kinds.DATA, kinds.PICTURES), "doctor --data {}"),
            kinds.CHECKPOINT: "doctor --checkpoint {}",
        },
    )

    tool.import_quietly()
    from psa_seg.engine import examine
    from psa_seg.engine.doctor import first_file
    from psa_seg.errors import UserError

    if args.show:
        args.show = examine.place_of_sheet(args.show)
    with contextlib.redirect_stdout(sys.stderr):  # the table alone is this tool's output
        try:
            if args.data and not args.classes and first_file.is_wanted(Path(args.data)):
                args.data = str(first_file.write(Path(args.data), args.out))
                print(f"wrote {args.data}: look at every line of it")
            elif args.out:
                parser.error("--out is for a --data FOLDER that has no data.yaml")
            named, args.config = bool(args.config), args.config or str(LIGHT)
            found = examine.examine(args, named)
            if args.suggest_weights:
                found.lines.append(examine.suggestion(found))
        except UserError as error:
            if not args.json:
                raise
            found = examine.Examination([examine.Line("data", "error", str(error))], {})
    print(found.json() if args.json else found.text())
    if args.show:
        examine.show(found, args.show)
    sys.exit(found.status(args.strict))


if __name__ == "__main__":
    tool.run(main)
