"""What a plan came to, in one sentence: differences, their intervals, and what would have shown."""

from psa_seg.leaderboard.board import Board
from psa_seg.leaderboard.paired import UNDECIDED, UNTESTED, Comparison


def findings(boards: list[Board]) -> list[str]:
    """A sentence for each comparison on real images that was settled beforehand."""
    settled = [board for board in boards if board.settled]
    planned = [b for b in settled if b.baseline or any(model.plans for model in b.models.values())]
    return [sentence(board, family) for board in planned for family in _families(board)]


def _families(board: Board) -> list[frozenset[str]]:
    """Labels that are tested together, the plain network's plan first; without a plan, none."""
    plain = board.baseline.tested_with if board.baseline else frozenset()
    found = {m.tested_with: None for m in board.models.values() if m.first.attentions}
    later = plain.difference(*found)
    return [*sorted(found, key=plain.isdisjoint), *([later] if later or not found else [])]


def sentence(board: Board, family: frozenset[str]) -> str:
    """What each model of a family gains, if it was tested, and what is not in yet."""
    about = board.about
    tested = {
        label: found
        for label, found in board.comparisons.items()
        if board.models[label].tested_with == family
    }
    told = [
        f"{label} {found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}], {found.verdict}"
        for label, found in tested.items()
        if found.verdict != UNTESTED
    ]
    missing = _missing(board, family)
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


def _missing(board: Board, family: frozenset[str]) -> list[str]:
    """Models that have not all the seeds that they were to have, or none yet."""
    plain = board.baseline
    arms = [m for m in board.models.values() if m.first.attentions and m.tested_with == family]
    compared = {seed for arm in arms for seed in arm.planned} if family else set()
    missing = [] if plain else ["the plain network (none yet)"]
    for model in [*([plain] if plain else []), *arms]:
        wanted = (model is plain and compared) or {*model.planned}
        if not model.has(wanted):
            name = "the plain network" if model is plain else model.label
            missing.append(f"{name} ({len(wanted & model.runs.keys())} of {len(wanted)})")
    there = {name for arm in arms for name in arm.names}
    absent = ", ".join(sorted(family - there))
    return [*missing, *([f"{absent} (none yet)"] if absent else [])]


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
