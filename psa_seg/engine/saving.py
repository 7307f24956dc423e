"""Checkpoints that are whole or not there, none of which goes before the next has come."""

import itertools
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from mmengine.dataset import DefaultSampler
from mmengine.dist import barrier, is_distributed, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from psa_seg import files
from psa_seg.engine import signals
from psa_seg.engine.distributed import largest
from psa_seg.engine.signals import Interrupted

IN_A_ROW = "bad_steps_in_a_row"  # in the message hub, and so in checkpoints: see `engine.guard`
POINTER = "last_checkpoint"  # MMSegmentation's tools read it; nothing here does


def _put(backend: LocalBackend, obj: bytes, filepath: str | Path) -> None:
    """Write bytes to this disk, where a file appears under its name when it is whole."""
    path = Path(filepath)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, obj)


LocalBackend.put = _put


class _Later:
    """A backend that notes what to remove."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.removed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.removed.append(path)


class WholeCheckpointHook(CheckpointHook):
    """mmengine's `CheckpointHook`, but that a checkpoint is removed after its successor is whole.

    It takes the place of that hook in every run. Arguments are those of `CheckpointHook`.
    """

    file_backend: Any  # which `before_train` finds
    passed_over: Collection[str] = ()  # names of files that resuming could not take

    def before_train(self, runner: Runner) -> None:
        """Know where checkpoints lie, and the one that the run goes on from."""
        super().before_train(runner)
        if runner._resume:
            self.last_ckpt = _path(self, runner.iter)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Save when it is time, but not among bad steps: such weights may be what leads to them."""
        if not runner.message_hub.runtime_info.get(IN_A_ROW) or self.is_last_train_iter(runner):
            super().after_train_iter(runner, *args, **kwargs)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        path = _path(self, step)
        if not Path(runner.work_dir).is_dir():  # which mmengine would make anew
            raise files.gone(Path(runner.work_dir))
        runner.message_hub.update_info("last_ckpt", path)
        outdated = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            kept = [*self.keep_ckpt_ids, step]
            # With one too many: where a run is killed now, its next attempt removes that.
            runner.message_hub.update_info("keep_ckpt_ids", kept)
            outdated = kept[: -self.max_keep_ckpts]
            self.keep_ckpt_ids.append(step)
        if is_main_process():
            self._put_aside(Path(path))
        runner.save_checkpoint(
            self.out_dir,
            self.filename_tmpl.format(step),
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.last_ckpt = path
        if is_main_process():
            files.write(Path(runner.work_dir, POINTER), path)
            for old in (_path(self, number) for number in outdated):
                if self.file_backend.isfile(old):
                    self.file_backend.remove(old)

    def _put_aside(self, path: Path) -> None:
        """Keep what lies where a checkpoint is to be written, and is none of this run."""
        if path.name in self.passed_over and os.path.lexists(path):
            numbers = (f".{n}" if n else "" for n in itertools.count())
            kept = (path.with_name(f"{path.name}{number}.kept") for number in numbers)
            path.rename(next(name for name in kept if not os.path.lexists(name)))
        self.passed_over = {*self.passed_over} - {path.name}  # it is this run's from now on

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        with self._removing_later() if self.save_best else nullcontext():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_later(self) -> Iterator[None]:
        """What is removed in this block goes at its end, unless it has been written again."""
        backend = self.file_backend
        self.file_backend = later = _Later(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        best = {getattr(self, "best_ckpt_path", None)}
        best |= set(getattr(self, "best_ckpt_path_dict", {}).values())
        for path in later.removed:
            if path not in best:
                backend.remove(path)


def saved(runner: Runner) -> str:
    """Have the state after the latest step in a checkpoint, in every process.

    Returns:
        Words that say so, or why not.
    """
    hook, step = checkpoints(runner), runner.iter
    where = f"after step {step} of {runner.max_iters}"
    if hook is None:
        return f"{where}, without a checkpoint (default_hooks.checkpoint)"
    if not _has(hook, step):
        hook._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=step))
    barrier()  # the first process writes it
    return f"{where}, which {hook.last_ckpt} has"


def checkpoints(runner: Runner) -> CheckpointHook | None:
    """The hook that writes them, be it a user's own."""
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def _path(hook: CheckpointHook, step: int) -> str:
    return hook.file_backend.join_path(hook.out_dir, hook.filename_tmpl.format(step))


def _has(hook: CheckpointHook, step: int) -> bool:
    """Whether the latest checkpoint is of the state after `step`."""
    return hook.last_ckpt == _path(hook, step)


def makes_up(runner: Runner) -> bool:
    """Whether a validation that is left out now is made up for when the run goes on."""
    return any(getattr(hook, "makes_up", False) for hook in runner.hooks)


class StopInValidationHook(Hook):
    """Ends a run that is asked to end in a validation, if its step has a checkpoint.

    Else, and where nothing would make up for it, the validation goes on, and the step after it is
    the last.
    """

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Look, in all processes together, which have as many images each."""
        if not signals.is_held() or not _is_even(runner.val_dataloader.sampler):
            return
        asked, hook = int(largest([signals.asked()])[0]), checkpoints(runner)
        if asked and hook is not None and _has(hook, runner.iter) and makes_up(runner):
            raise Interrupted(asked, f"in a validation, {saved(runner)}")


def _is_even(sampler: Any) -> bool:
    return not is_distributed() or (isinstance(sampler, DefaultSampler) and sampler.round_up)
