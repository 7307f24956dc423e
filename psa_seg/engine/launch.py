"""From a prepared run to a trained or tested model."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from mmengine.dist import get_rank

from psa_seg.engine import work_dir
from psa_seg.engine.distributed import once
from psa_seg.engine.explain import explaining
from psa_seg.engine.lock import alone
from psa_seg.engine.run import Run
from psa_seg.engine.runner import PairedRunner
from psa_seg.errors import stop_at
from psa_seg.files import DISK_TROUBLE, gone


def train(run: Run) -> None:
    """Build, train, validate, report.

    Raises:
        UserError: for all that a user can mend.
    """
    first, runner = get_rank() == 0, None
    held = alone(run.work_dir / work_dir.CLAIM, f"the run in {run.work_dir}")
    with held if first else nullcontext():
        try:
            with _in_its_place(run.work_dir):
                if first:
                    work_dir.sweep_out(run.work_dir)
                with explaining(run.config):
                    runner = PairedRunner.from_run(run)
                    runner.build()
                once(lambda: stop_at(work_dir.check_space(run.config, run.work_dir, runner.model)))
                runner.train()
        except BaseException:  # a user's Ctrl-C, too
            if first and not (runner and runner.has_trained):
                work_dir.abandon(run.claim)
            raise


@contextmanager
def _in_its_place(folder: Path) -> Iterator[None]:
    """What libraries say of a folder that was removed under them, or is full, names it."""
    try:
        yield
    except FileNotFoundError as error:
        if folder.is_dir():
            raise
        raise gone(folder) from error
    except OSError as error:
        if error.errno in DISK_TROUBLE and error.filename is None:  # a write does not say where
            error.filename = str(folder)
        raise


def test(run: Run) -> None:
    """Score a checkpoint, or predict with it.

    Raises:
        UserError: for all that a user can mend.
    """
    try:
        with explaining(run.config):
            runner = PairedRunner.from_run(run)
            runner._test_loop = runner.build_test_loop(runner._test_loop)
    except BaseException:
        if get_rank() == 0:
            for claim in (run.claim, *run.others):
                work_dir.abandon(claim)
        raise
    runner.test()
