"""A run that is killed, or whose disk is full, goes on by itself and ends bit-equal.

A few faults of each kind; `python -m tests.faults` tries all.
"""

import pytest

from tests.faults import Fault, all_faults, goes_on, trial_of

# The last of each that a run does, and when.
CHOSEN = [
    ("write", ".iter_3.pth.part", "within"),
    ("remove", "iter_2.pth", "before"),  # the pointer says so, and there is one too many
    ("picture", ".samples.png.part", "within"),
]


@pytest.fixture(scope="module")
def alone():
    with trial_of() as found:
        yield found


@pytest.mark.parametrize(("kind", "name", "phase"), CHOSEN)
def test_killed_it_goes_on(alone, kind, name, phase):
    trial, operations, expected = alone
    last = max(i for i, operation in enumerate(operations) if operation == (kind, name))
    assert not goes_on(trial, expected, f"{kind}{name}", fault=Fault(last, phase))


def test_where_the_disk_is_full_it_says_so_and_goes_on_when_there_is_room(alone):
    trial, operations, expected = alone
    number = operations.index(("write", ".iter_2.pth.part"))
    assert not goes_on(trial, expected, "full", fault=Fault(number, "within", full=True))


def test_every_operation_is_among_those_that_the_long_form_tries(alone):
    _, operations, _ = alone
    tried = {fault.number for _, fault in all_faults(operations)}
    assert tried == set(range(len(operations)))
    written = {name for kind, name in operations if kind in ("write", "picture")}
    assert written >= {f".{name}.part" for name in ("iter_3.pth", "last_checkpoint", "record.json")}
    assert written >= {f".{name}.png.part" for name in ("curves", "samples", "confusion")}
