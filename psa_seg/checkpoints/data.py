"""What torch.save wrote, as data: tensors, plain values, and mmengine's logs. Nothing is called.

Whatever else a file names is refused, for the whole process: `mmengine` loads through `load`, too,
and in a tool (`psa_seg.engine.tool`) no library's `torch.load` does otherwise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

import mmengine.runner.checkpoint
import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from psa_seg import trust

NUMBERS = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})


class _Forgotten:
    """Takes the place of what a file would call: nothing is called, and nothing kept."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def value(self) -> Any:
        """What it stands for, as data; whatever exception, where it does not stand for any."""
        return self


class _Kept(_Forgotten):
    """What is given is kept, until all has been read."""

    args: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Bytes(_Kept):
    """No bytes, as an empty array has them."""

    def value(self) -> Any:
        () = self.args
        return b""


class _Type(_Kept):
    """A dtype of NumPy's."""

    def value(self) -> Any:
        code, order = self.args[0], (self.state or (3, "|"))[1]
        if code not in NUMBERS or order not in ("<", ">", "|", "="):
            raise ValueError(f"numbers of a kind that no log has: {code!r}")
        return np.dtype(code).newbyteorder(order)


class _Array(_Kept):
    """An array of NumPy's."""

    def value(self) -> Any:
        _, shape, dtype, fortran, content = _resolved(self.state)
        array = np.frombuffer(content, dtype) if content else np.empty(0, dtype)
        return array.reshape(shape, order="F" if fortran else "C").copy()


class _Scalar(_Kept):
    """A number of NumPy's."""

    def value(self) -> Any:
        dtype, content = _resolved(self.args)
        return np.frombuffer(content, dtype)[0]


class _Log(_Kept):
    """A log of mmengine's."""

    def value(self) -> Any:
        state = _resolved(self.state)
        return HistoryBuffer(state["_log_history"], state["_count_history"], state["max_length"])


# What the logs in mmengine's checkpoints are made of, under NumPy 1 and 2.
STAND_INS: dict[str, type[_Forgotten]] = {
    "builtins.getattr": _Forgotten,
    "builtins.bytes": _Bytes,
    "numpy.ndarray": _Forgotten,
    "numpy.dtype": _Type,
    "mmengine.logging.history_buffer.HistoryBuffer": _Log,
    **{f"numpy.{core}.multiarray._reconstruct": _Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _Scalar for core in ("core", "_core")},
}


def load(file: str | IO[bytes], map_location: Any = "cpu", weights_only: object = None) -> Any:
    """What a file of torch.save's holds, as data; of whatever it is, where files are trusted.

    Args:
        file: its path, or an open file.
        map_location: as of `torch.load`.
        weights_only: for who calls this in the place of mmengine's; it changes nothing.

    Raises:
        Exception: whatever a file that is broken, or holds more than data, makes PyTorch say.
    """
    if trust.given():
        return torch.load(file, map_location, weights_only=False)
    with _standing_in():
        found = torch.load(file, map_location, weights_only=True)
    return _resolved(found)


def load_url(
    address: str, model_dir: str | None = None, map_location: Any = "cpu", **options: Any
) -> Any:
    """What the file at an address holds, which is downloaded once; in the place of mmengine's."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), "checkpoints"))
    path = folder / Path(urlparse(address).path).name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(path), progress=options.get("progress", True))
    return load(str(path), map_location)


@contextmanager
def _standing_in() -> Iterator[None]:
    """Stand-ins for what logs are made of, whatever else this process trusts elsewhere."""
    trusted = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals([(kind, n) for n, kind in STAND_INS.items()]):
            yield
    finally:
        torch.serialization.add_safe_globals(trusted)


def _resolved(node: Any) -> Any:
    """The same with arrays, numbers and logs in the place of what stands for them."""
    if isinstance(node, _Forgotten):
        try:
            return node.value()
        except Exception:  # of texts, or objects, or not what it says: nothing is made of it
            return node
    if type(node) is tuple:
        return tuple(map(_resolved, node))
    if isinstance(node, list):
        node[:] = map(_resolved, node)
    elif isinstance(node, dict):
        for key, value in node.items():
            node[key] = _resolved(value)
    return node


mmengine.runner.checkpoint._safe_torch_load = load  # which would fall back to running a file
mmengine.runner.checkpoint.load_url = load_url
