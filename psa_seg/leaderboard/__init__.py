"""Records in, one table out: Markdown, CSV, and a page that stands by itself."""

from pathlib import Path

from psa_seg import files
from psa_seg.errors import UserError
from psa_seg.leaderboard.board import Board, Boards, read_boards
from psa_seg.leaderboard.page import page
from psa_seg.leaderboard.table import markdown, to_csv

__all__ = ["Board", "Boards", "markdown", "read_boards", "write"]

MARK = "<title>psa_seg: "


def write(records: str, out: str, pictures: bool) -> tuple[list[Path], list[str]]:
    """Write `leaderboard.md`, `leaderboard.csv` and `index.html`, over those of an earlier time.

    Returns:
        Paths of the files, and a line for each file in `records` that stands on no board.

    Args:
        records: folder of records.
        out: folder of the files, made if need be.
        pictures: show those of real images, too.

    Raises:
        UserError: for records that cannot be read, or a folder that holds files of these names
            which are something else.
    """
    found = read_boards(records)
    boards = found.boards
    texts = {
        "index.html": page(boards, pictures),  # first: by it, a folder is known to be ours
        "leaderboard.md": markdown(boards) + "\n",
        "leaderboard.csv": to_csv(boards),
    }
    paths = [Path(out, name) for name in texts]
    page_there = paths[0].is_file() and MARK in paths[0].read_text(errors="replace")
    for path in paths:
        if path.exists() and not page_there:
            raise UserError(
                f"{path} is there already, and no leaderboard\n  do         choose another --out"
            )
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, texts.values(), strict=True):
            files.write(path, text)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--out {out} is no folder\n  do         name another") from error
    except OSError as error:
        raise files.disk_error(error) from error
    return paths, found.left_out
