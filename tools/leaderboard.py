"""Make the leaderboard: python tools/leaderboard.py RECORDS --out DIR."""

from psa_seg.engine import tool
from psa_seg.leaderboard import write


def main() -> None:
    """Read the command line, write Markdown, CSV and page."""
    parser = tool.Parser(description=__doc__)
    parser.add_argument("records", help="folder of records (*.json), as tools/sweep.py files them")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    parser.add_argument(
        "--pictures", action="store_true", help="of real images, too, if they lie there"
    )
    args = parser.parse_args()
    for path in write(args.records, args.out, args.pictures):
        print(f"wrote {path}")


if __name__ == "__main__":
    tool.run(main)
