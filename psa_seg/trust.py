"""Whether files of weights may run what is in them: not unless a user has said so."""

import os

DATA_ALONE, PROGRAMS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_state = {"given": False}


def refuse() -> None:
    """From now on `torch.load` reads data alone, whoever calls it, here and in child processes."""
    _state["given"] = False
    os.environ[DATA_ALONE] = "1"
    os.environ.pop(PROGRAMS, None)


def give() -> None:
    """From now on files of weights are read as pickles, which run what is in them."""
    _state["given"] = True
    os.environ.pop(DATA_ALONE, None)


def given() -> bool:
    """Whether they are."""
    return _state["given"]
