"""The command line: `nncore COMMAND`. Here is the one place where exceptions become messages and exit codes.

0 done; 1 the thing checked does not hold; 2 wrong usage; 3 unreadable or malformed input; 4 a limit was hit; 5 our own
fault; 130 interrupted. Messages go to stderr as `nncore: ...`; NNCORE_DEBUG=1 adds the traceback.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
import warnings
from contextlib import contextmanager

from nncore.errors import NNError


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # A command makes few cycles; looking for them while modules load costs milliseconds.
    gc.set_threshold(100_000, 10, 10)
    leave(run(sys.argv[1:] if arguments is None else arguments))


def leave(code: int) -> None:
    """Exit without taking the interpreter apart, which takes longer than most commands; a thread that others must wait for
    gets the usual way.
    """
    if any(not t.daemon for t in threading.enumerate() if t is not threading.main_thread()):
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # nobody listens: run has said so
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code. Never raises, never shows a traceback unless NNCORE_DEBUG=1."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(getattr(sys, name), "reconfigure"):
            # What cannot be encoded (a file name in another code) is escaped rather than fatal.
            getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        with _plain_warnings():
            code = _invoke(arguments)
        sys.stdout.flush()
        return code
    except BaseException as e:
        code, message = explain(e)
        if message and os.environ.get("NNCORE_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        _complain(message)
        return code


@contextmanager
def _plain_warnings():
    """What nncore warns of is said once, in one line, without a place in our source."""
    said, usual = set(), warnings.showwarning

    def show(message, category, *where, **more) -> None:
        if category is not UserWarning:
            usual(message, category, *where, **more)
        elif str(message) not in said:
            said.add(str(message))
            _complain(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show
        if not sys.warnoptions:
            warnings.simplefilter("always", UserWarning)
        yield


def _invoke(arguments: list[str]) -> int:
    import click

    from nncore.cli.group import root

    if "_NNCORE_COMPLETE" in os.environ:
        root.main(arguments, prog_name="nncore")
    try:
        with root.make_context("nncore", list(arguments)) as context:
            found = root.invoke(context)
            return found if isinstance(found, int) else 0
    except click.exceptions.Exit as e:
        return e.exit_code


def explain(e: BaseException) -> tuple[int, str]:
    """(exit code, message) of an exception that reached the top."""
    if isinstance(e, NNError):
        return e.exit_code, str(e)
    if isinstance(e, SystemExit):
        return (e.code if isinstance(e.code, int) else 0 if e.code is None else 5), ""
    if isinstance(e, (KeyboardInterrupt, EOFError)):
        return 130, "interrupted"
    if isinstance(e, MemoryError):
        return 4, "out of memory; choose a smaller network, batch or data set"
    if isinstance(e, BrokenPipeError):
        return 4, ""  # who read our output went away, and wants no more of it
    if isinstance(e, OSError):
        return 4, f"{e.filename or 'output'}: {e.strerror or e}"
    click = sys.modules.get("click")
    if click and isinstance(e, click.ClickException):
        return 2, _usage(e)
    if click and isinstance(e, click.exceptions.Abort):
        return 130, "interrupted"
    return 5, f"a fault of nncore itself: {type(e).__name__}: {e}; NNCORE_DEBUG=1 shows where"


def _usage(e) -> str:
    """A usage error in one sentence, and where to read more."""
    context = getattr(e, "ctx", None)
    message = e.format_message().rstrip()
    where = f"\nsee: {context.command_path} --help" if context else ""
    return f"{message[:1].lower()}{message[1:]}{where}" if message[:2].istitle() else f"{message}{where}"


def _complain(message: str) -> None:
    try:
        if message:
            print(f"nncore: {message}", file=sys.stderr)
        sys.stdout.flush()
    except (OSError, ValueError):
        # Nobody listens any more: keep the interpreter from complaining again when it closes the streams.
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            try:
                os.dup2(null, stream.fileno())
            except (OSError, ValueError):
                pass
