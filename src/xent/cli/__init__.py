"""The command line ``xent``.

The commands' modules, and with them NumPy, polars, rich and scikit-learn, are imported when a command runs: what
``xent --help`` shows is in the table below. Results go to standard output, progress and notes to standard error. Exit
codes: 0 done, 2 something the user can mend (one line on standard error says what), 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__

_COMMANDS = {
    "train": "Train, tune and judge a classifier on a table.",
    "predict": "Predict the rows of a table with a trained model.",
    "evaluate": "Judge anybody's predicted probabilities.",
    "compare": "Whether one model really beats another.",
    "recalibrate": "Make predicted probabilities cost less by a small map.",
    "perplexity": "Judge language models by their tokens' log-probabilities.",
    "verify": "Judge scores or embeddings of pairs: same class or not.",
    "measure": "Entropy and mutual information of columns.",
    "gallery": "Draw pictures that explain cross-entropy.",
}

_EXAMPLES = """\b
Examples:
  xent train digits
  xent train birds.csv --target species
  xent predict birds.xent new.csv -o predictions.csv
  xent evaluate predictions.csv --target species
  xent compare logistic.csv forest.csv --target species --id row
  xent recalibrate predictions.csv --target species -o map.json
  xent measure birds.csv species island
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for, and whose errors are for people."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None for a name that is none."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __name__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest the nearest command for a name that is none."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            from ..tabular.errors import nearest

            raise click.UsageError(f"no command {name!r}. {nearest(name, _COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run, and end the process with the exit code; errors become one line on standard error."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name or "xent", **extra)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("\nInterrupted; nothing was written.", err=True)
            sys.exit(130)
        except Exception as error:
            text = _for_people(error)
            if text is None:
                raise
            click.echo(f"Error: {text}", err=True)
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


def _for_people(error: Exception) -> str | None:
    """Return the text of an error the user can mend; None for a mistake of ours, which keeps its traceback."""
    from ..tabular.errors import TableError

    if isinstance(error, TableError):
        return str(error)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return f"{error.filename}: {reason.lower()}" if error.filename else reason
    return "there is not enough memory for this table" if isinstance(error, MemoryError) else None


@click.group(cls=LazyGroup, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="xent", message="%(prog)s %(version)s")
def main() -> None:
    """Cross-entropy, end to end: train classifiers on tables, predict, and judge predictions.

    Every command has --help with examples, and --json for programs.
    """


__all__ = ["main"]
