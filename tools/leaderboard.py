"""Make the leaderboard: python tools/leaderboard.py RECORDS --out DIR."""

import sys

from psa_seg.engine import tool


def main() -> None:
    """Read the command line, write Markdown, CSV and page."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("records", help="folder of records (*.json), or of work directories")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    parser.add_argument(
        "--pictures", action="store_true", help="of real images, too, if they lie there"
    )
    args = parser.parse_args()

    from psa_seg.leaderboard import write

    paths, left_out = write(args.records, args.out, args.pictures)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    for path in paths:
        print(f"wrote {path}")


if __name__ == "__main__":
    tool.run(main)
