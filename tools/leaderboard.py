"""Compare trained models in one table: Markdown, CSV and a page.

python tools/leaderboard.py work_dirs --out board
"""

import sys

from psa_seg.engine import given, tool


def main() -> None:
    """Read the command line, write Markdown, CSV and page."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("records", help="Folder of records (*.json), or of work directories.")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="Folder for the table and the page."
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="Show pictures of real images, too, if they lie beside the records.",
    )
    args = parser.parse_args()
    given.check("leaderboard", [given.Place("RECORDS", args.records, given.OF_RECORDS)])

    from psa_seg.leaderboard import write

    paths, left_out = write(args.records, args.out, args.pictures)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    for path in paths:
        print(f"wrote {path}")


if __name__ == "__main__":
    tool.run(main)
