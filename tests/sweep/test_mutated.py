"""Experiments that are spoilt, at random or by intent: runs, or one message with the path."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from psa_seg.datasets import strict_yaml
from psa_seg.errors import UserError
from psa_seg.sweep.experiment import OPTIONAL, read_experiment
from tests.mutating import many, said

RIGHT = {
    "config": "a.py",
    "records": "records",
    "seeds": [0, 1],
    "attentions": {"none": None, "PSA": {"type": "PolarizedSelfAttention"}},
    "placements": {"head": {"model.decode_head.attention": "ATTENTION"}},
}
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=4)
) | st.sampled_from(["ATTENTION", "none", "PSA", "mIoU", "bfloat16"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)


@many
@given(
    left_out=st.sets(st.sampled_from([*RIGHT]), max_size=1),
    changes=st.dictionaries(st.sampled_from([*RIGHT, *OPTIONAL, "x"]), VALUES, max_size=3),
    spots=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 126)), max_size=2),
)
def test_experiments(tmp_path_factory, left_out, changes, spots):
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    kept = {key: value for key, value in RIGHT.items() if key not in left_out}
    data = bytearray(yaml.safe_dump({**kept, **changes}, allow_unicode=True).encode())
    for place, value in spots:
        data[place % len(data)] = value
    path.write_bytes(data)

    def attempt():
        assert read_experiment(str(path)).runs

    message = said(attempt)
    assert not message or (str(path) in message and len(message.splitlines()) >= 2)


HOSTILE = {
    "nested": ("[" * 5000 + "]" * 5000, "nested too deep"),
    "of itself": ("&a [*a]", "an alias stands within what it names, in what begins in line 1"),
    "a mapping of itself": ("options: &o {x: *o}", "an alias stands within"),
    "long by aliases": (
        "a: &x0 [1]\n" + "".join(f"b{i}: &x{i} [{f'*x{i - 1}, ' * 9}]\n" for i in range(1, 9)),
        "more than 100000 values",
    ),
    "long": ("a: " + "b" * strict_yaml.LONGEST, "characters: too many"),
    "of programs": ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
}


@pytest.mark.parametrize(("text", "words"), HOSTILE.values(), ids=HOSTILE)
def test_what_would_not_end(tmp_path, text, words):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=words) as error:
        read_experiment(str(tmp_path / "a.yaml"))
    assert str(tmp_path / "a.yaml") in str(error.value)
