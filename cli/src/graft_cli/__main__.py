"""The program ``kubectl-graft``: every error with the way out, and no traceback."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DEBUG: Final = "GRAFT_DEBUG"


COMPLETER: Final = "kubectl_complete-graft"
"""A link of this name to the one-file build answers kubectl's completion."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code (docs/cli.md)."""
    try:
        import click
    except ImportError:
        sys.stderr.write("error: kubectl-graft lacks its packages\n  to fix: install graft[cli]\n")
        return 1
    if arguments is None and Path(sys.argv[0]).name == COMPLETER:
        from graft_cli import completion

        completion.main()
        return 0
    from graft_cli.errors import ExitCode, GraftError
    from graft_cli.rendering.console import complain, give_up_streams, prepare_streams

    prepare_streams()
    try:
        return run(arguments)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except GraftError as error:
        complain(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        give_up_streams()
        return ExitCode.OK
    except OSError as error:  # a full disk, say; what the network does is translated where it is asked
        complain(GraftError(str(error)))
        give_up_streams()
        return ExitCode.FAILED
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        complain(GraftError(f"{type(error).__name__}: {error}", fix=f"this is a bug; {DEBUG}=1 shows where"))
        return ExitCode.FAILED


def quieten_libraries() -> None:
    """Let errors speak for themselves: what libraries log of them is said already."""
    if not logging.root.handlers:
        logging.root.addHandler(logging.NullHandler())


def run(arguments: Sequence[str] | None) -> int:
    """Run a verb, and return its exit code once all that it prints is written."""
    from graft_cli.app import PROGRAM, app
    from graft_cli.errors import ExitCode

    quieten_libraries()
    code = app.main(list(arguments) if arguments is not None else None, PROGRAM, standalone_mode=False)
    sys.stdout.flush()
    return code if isinstance(code, int) else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
