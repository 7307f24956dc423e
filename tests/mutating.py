"""Files spoilt at random, by hypothesis: they hold what they should, or are one message.

A hundred of each kind; PSA_SEG_MUTATIONS says how many.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from psa_seg.errors import UserError

many = settings(
    max_examples=int(os.environ.get("PSA_SEG_MUTATIONS", "100")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SPOTS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6)
CUTS = st.one_of(st.none(), st.integers(0, 10**6))


def mutated(data, spots, cut=None, end=False):
    """Some bytes others, half of them among the first, or last; the file cut off."""
    data = bytearray(data)
    for place, value in spots:
        near = min(64, len(data)) if not end else min(256, len(data))
        place = place % (len(data) if place % 2 else near)
        data[-1 - place if end else place] = value
    return bytes(data[: cut % len(data)] if cut is not None else data)


def said(attempt):
    """What a user reads; nothing where all is right. Any other exception is a failure."""
    try:
        attempt()
    except UserError as error:
        return str(error)
    return ""
