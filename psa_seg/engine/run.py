"""What is run: the one object that a command line and a config file become."""

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from psa_seg.engine.work_dir import Claim


@dataclass(frozen=True)
class Run:
    """A training, a test or a prediction, after all checks; nothing writes to its config.

    Attributes:
        config: as mmengine's Runner takes it, types of its parts settled, digests of the weights
            that it starts from at `start`.
        claim: the work directory, and what was made for it.
        others: folders besides that are written to, likewise.
        checkpoint: the file whose weights are loaded first, on this disk; None for a start from
            nothing but the model's own weights.
        resumed: whether the run goes on from that checkpoint.
        anew: tensors of the model that the checkpoint has for other classes, and that start anew.
        passed_over: names of files in the work directory that are called as checkpoints of the run,
            and are none, or no whole ones.
    """

    config: Config
    claim: Claim
    others: tuple[Claim, ...] = ()
    checkpoint: str | None = None
    resumed: bool = False
    anew: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def work_dir(self) -> Path:
        """Where it is written."""
        return self.claim.path
