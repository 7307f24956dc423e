"""What a board says, in one sentence: differences, their intervals, and what would have shown."""

from psa_seg.leaderboard.board import Board
from psa_seg.leaderboard.paired import UNDECIDED, UNTESTED, Comparison


def findings(boards: list[Board]) -> list[str]:
    """A sentence for each comparison on real images that was settled beforehand."""
    real = [board for board in boards if not (board.synthetic or board.exploratory)]
    return [sentence(board) for board in real if board.baseline is not None]


def sentence(board: Board) -> str:
    """Of a board with a baseline: what each model that was tested gains, and what is not in yet."""
    about, tested = board.about, board.comparisons
    told = [
        f"{label} {found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}], {found.verdict}"
        for label, found in tested.items()
        if found.verdict != UNTESTED
    ]
    missing = _missing(board)
    text = f"{about.data}, {about.decoder} {about.backbone}, {about.max_iterations} steps: "
    if told:
        text += f"{about.score} beside the plain network's, in points with its 95 % interval: "
        text += "; ".join(told) + "." + _sensitivity(list(tested.values()))
    elif tested:
        text += "nothing can be tested of one seed, or of differences that are all the same."
    else:
        text += "nothing is tested yet."
    return text + (f" Seeds are missing of {'; '.join(missing)}." if missing else "")


def _missing(board: Board) -> list[str]:
    """Models that have not all their planned seeds, or none yet."""
    models = board.models.values()
    begun = [
        m.label if m.first.attentions else "the plain network" for m in models if not m.is_whole()
    ]
    there = [model.first.label for model in models]
    planned = dict.fromkeys(label for model in models for label in model.tested_with)
    return begun + [label for label in planned if label not in there]


def _sensitivity(tested: list[Comparison]) -> str:
    """What could have shown where nothing did."""
    open_ones = [found for found in tested if found.verdict == UNDECIDED]
    if not open_ones:
        return ""
    least, most = (f"{f(found.needed for found in open_ones):.2f}" for f in (min, max))
    counts = {len(found.seeds) for found in open_ones}
    seeds = " or ".join(map(str, sorted(counts)))
    points = least if least == most else f"{least} to {most}"
    return f" With {seeds} seeds, a difference of {points} points would have been significant."
