"""The exceptions that a user, and not a programmer, is meant to read."""

from collections.abc import Sequence


class UserError(Exception):
    """A mistake the user can mend: the message says what is wrong, where, and what to do.

    The command-line tools print it without a traceback and exit with `status`.
    """

    status = 2

    def __init__(self, message: str) -> None:
        # A worker process that loads data hands its exceptions on as text, traceback and all.
        super().__init__(message.rpartition(f"{__name__}.{type(self).__name__}: ")[2].rstrip())


class BusyError(UserError):
    """Another process is at this run."""


class DataError(UserError):
    """One that one process of several may meet alone: in its own file, on its own machine."""


class KilledError(DataError):
    """A process that it has was killed, for want of memory say: as if it had been this one."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class DivergedError(UserError):
    """A training whose numbers are no numbers any more."""

    status = 3


def stop_at(findings: Sequence[str]) -> None:
    """Raise UserError with the first of a check's findings, if there are any."""
    if findings:
        raise UserError(findings[0])
