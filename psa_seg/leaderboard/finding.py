"""What a board says, in one sentence: differences, their intervals, and what would have shown."""

from psa_seg.leaderboard.board import Board
from psa_seg.leaderboard.paired import UNDECIDED, UNTESTED, Comparison


def findings(boards: list[Board]) -> list[str]:
    """A sentence for each comparison on real images that was settled beforehand."""
    settled = [board for board in boards if board.settled]
    planned = [b for b in settled if b.baseline or any(model.plans for model in b.models.values())]
    return [sentence(board) for board in planned]


def sentence(board: Board) -> str:
    """What each model that was tested gains, and what is not in yet."""
    about, tested = board.about, board.comparisons
    told = [
        f"{label} {found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}], {found.verdict}"
        for label, found in tested.items()
        if found.verdict != UNTESTED
    ]
    missing = _missing(board)
    text = f"{about.data}, {about.decoder} {about.backbone}, {about.max_iterations} steps: "
    if told:
        tests = max(found.tests for found in tested.values())
        corrected = f" (verdicts corrected for {tests} comparisons)" if tests > 1 else ""
        text += f"{about.score} beside the plain network's, in points with its 95 % interval"
        text += f"{corrected}: {'; '.join(told)}.{_sensitivity([*tested.values()])}"
    elif tested:
        one = max(len(found.seeds) for found in tested.values()) < 2
        text += "nothing can be tested of "
        text += "one seed." if one else "differences that are the same for every seed."
    else:
        text += "nothing is tested yet."
    return text + (f" Seeds are missing: {'; '.join(missing)}." if missing else "")


def _missing(board: Board) -> list[str]:
    """Models that have not all the seeds that they were to have, or none yet."""
    models = board.models.values()
    compared = {seed for model in models if model.tested_with for seed in model.planned}
    missing = [] if board.baseline else ["the plain network (none yet)"]
    for model in models:
        plain = model is board.baseline
        wanted = {*model.planned} | (compared if plain else set())
        if not model.has(wanted):
            name = "the plain network" if plain else model.label
            missing.append(f"{name} ({len(wanted & model.runs.keys())} of {len(wanted)})")
    there = {name for model in models for name in model.names}
    planned = {label for model in models for label in model.tested_with}
    return missing + [f"{label} (none yet)" for label in sorted(planned - there)]


def _sensitivity(tested: list[Comparison]) -> str:
    """What could have shown where nothing did."""
    open_ones = [found for found in tested if found.verdict == UNDECIDED]
    if not open_ones:
        return ""
    least, most = (f"{f(found.needed for found in open_ones):.2f}" for f in (min, max))
    counts = {len(found.seeds) for found in open_ones}
    seeds = " or ".join(map(str, sorted(counts)))
    points = least if least == most else f"{least} to {most}"
    return (
        f" With {seeds} seeds, a difference of {points} points, if observed, would be significant."
    )
