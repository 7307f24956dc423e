"""What the command-line tools share. Nothing heavy is imported before arguments are parsed."""

import argparse
import contextlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from psa_seg import shipped, trust
from psa_seg.engine import failing, signals
from psa_seg.errors import UserError

BACKENDS = {"tensorboard": "TensorboardVisBackend", "wandb": "WandbVisBackend"}
READER_LEFT = 141  # as a shell has it of a process that SIGPIPE ended


class Parser(argparse.ArgumentParser):
    """One whose message is printed by one of several processes, and whose help names our tools.

    Args:
        description: of the tool, shown as it is written: a sentence, and an example.
        kwargs: as of argparse.
    """

    def __init__(self, description: str | None = None, **kwargs: Any) -> None:
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, formatter_class=style, **kwargs)

    def format_help(self) -> str:
        """The help, in which tools and configs are called as the user calls them."""
        self.description = shipped.told(self.description or "")
        for action in self._actions:
            action.help = shipped.told(action.help or "")
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Print it, and end.

        Raises:
            UserError: in one of several processes whose last words are collected.
        """
        if failing.FOLDER in os.environ:
            raise UserError(f"{message}\n  do         see {self.prog} --help")
        if _is_first():
            super().error(message)
        sys.exit(2)


class Overrides(argparse.Action):
    """mmengine's `KEY=VALUE` pairs; anything else is a message, and not a traceback."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        """Read the pairs."""
        from mmengine.config import DictAction

        read = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        try:
            read(parser, *args, **kwargs)
        except ValueError:
            parser.error("--cfg-options wants KEY=VALUE pairs, such as train_cfg.max_iters=300")


class _Trust(argparse.Action):
    """An option that is followed where it is read, by whatever loads a file afterwards."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Trust files of weights."""
        trust.give()


def not_empty(text: str) -> str:
    """An argument that a shell's unset variable must not leave out."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def trust_argument(parser: argparse.ArgumentParser) -> None:
    """The option of every tool that reads weights."""
    parser.add_argument(
        "--trust-checkpoint",
        action=_Trust,
        nargs=0,
        dest=argparse.SUPPRESS,
        help="Load weights even if their file could run a program, which else is refused.",
    )


def override_argument(parser: argparse.ArgumentParser) -> None:
    """The option by which a config is not quite the one in its file."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=Overrides,
        metavar="KEY=VALUE",
        help="Change values of the config, such as train_cfg.max_iters=300.",
    )


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every tool working on a config has."""
    trust_argument(parser)
    parser.add_argument(
        "--work-dir",
        help="Folder for what is written (default: one in work_dirs/; of a test, test/ beside the "
        "checkpoint).",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="Take a small model, and drawn street scenes if there is no --data: minutes on a CPU.",
    )
    parser.add_argument(
        "--data",
        type=not_empty,
        metavar="FOLDER_OR_YAML",
        help="Take images and masks of your own, in place of the config's: see docs/your_data.md.",
    )
    parser.add_argument(
        "--classes",
        type=not_empty,
        help="Name the classes of a --data FOLDER without a data.yaml, such as road,car.",
    )
    parser.add_argument(
        "--allow-absent",
        action="store_true",
        help="Accept classes that occur in no mask; without it, they are an error.",
    )
    override_argument(parser)
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch"],
        default="pytorch" if "TORCHELASTIC_RUN_ID" in os.environ else "none",
        help="Say what starts processes: pytorch is torchrun, found out (default: %(default)s).",
    )


def import_quietly() -> None:
    """Import MMSegmentation, which announces optional parts that nothing here uses."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import mmseg.datasets
        import mmseg.models  # noqa: F401
    signals.check()


def ignore_warnings() -> None:
    """Of libraries, those that say nothing to a user."""
    warnings.filterwarnings("ignore", message="Default ``avg_non_ignore``")  # as in the baseline
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")  # a message of ours
    warnings.filterwarnings("ignore", message="For binary segmentation, we suggest")
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # few cores are enough
    warnings.filterwarnings("ignore", message="Grad strides do not match")  # of 1x1 convolutions


def run(main: Callable[[], None], when_interrupted: str = "") -> None:
    """Run a tool; a user's mistake is printed once, as a message, and the exit status is 2.

    A signal that asks it to end is a line, and the exit status 128 more than its number.

    Args:
        main: the tool.
        when_interrupted: how to go on, for who has stopped it.
    """
    ignore_warnings()
    trust.refuse()
    signals.install()
    try:
        _tell_interruptions(main)
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        with signals.last_words():
            number = getattr(error, "number", signal.SIGINT)
            name = f" ({signal.Signals(number).name})" if number != signal.SIGINT else ""
            name = " (torchrun was killed)" if failing.is_orphan() else name
            if _is_first() and not failing.notes():  # or it is another process's end
                done = f"interrupted{name} {getattr(error, 'done', '')}".strip()
                print("; ".join(filter(None, [done, when_interrupted])))
            sys.stdout.flush()
            os._exit(128 + number)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _has_no_reader():
            os._exit(READER_LEFT)
        if failing.FOLDER in os.environ or _is_distributed():
            with signals.last_words():
                failing.end(error, asked=signals.asked() != 0)
        known = failing.message(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr, flush=True)
        sys.exit(known.status)
    if _is_distributed():
        sys.modules["torch.distributed"].destroy_process_group()


def _tell_interruptions(main: Callable[[], None]) -> None:
    """Call `main`; what a library makes of Ctrl-C is Ctrl-C."""
    try:
        main()
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise cause from None
            cause = cause.__cause__ or cause.__context__
        raise


def _is_first() -> bool:
    """Whether this process speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def _has_no_reader() -> bool:
    """Whether what read our output, such as `| head`, has left: no other pipe is meant."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


def _is_distributed() -> bool:
    """Whether processes have met; where none has imported PyTorch, none has."""
    distributed = sys.modules.get("torch.distributed")
    return bool(distributed and distributed.is_available() and distributed.is_initialized())
