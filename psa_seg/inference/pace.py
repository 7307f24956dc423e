"""How far a walk through pictures is."""

import sys
import time

EVERY = 10  # seconds between lines that say how far it is


class Pace:
    """Says how far it is: in a terminal in one line, in a log every ten seconds."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.started = self.told = time.monotonic()
        self.live = sys.stderr.isatty()

    def step(self) -> None:
        """One picture more."""
        self.done += 1
        self.total = max(self.total, self.done)
        now = time.monotonic()
        if now - self.told < (0.2 if self.live else EVERY):
            return
        self.told = now
        rate = self.done / (now - self.started)
        minutes, seconds = divmod(round((self.total - self.done) / rate), 60)
        begin, end = ("\r\033[K", "") if self.live else ("", "\n")
        line = f"{self.done} of {self.total}, {rate:.3g} a second, {minutes}:{seconds:02d} left"
        print(f"{begin}{line}", file=sys.stderr, end=end, flush=True)

    def clear(self) -> None:
        """Make room for a line of another's."""
        if self.live:
            print("\r\033[K", file=sys.stderr, end="", flush=True)
