"""How the tests of the command line call it."""

from click.testing import CliRunner

from xent.cli import main


def run(*args, code=0, text=None):
    """The result of ``xent ARGS``, which must end with this exit code and never with a traceback."""
    result = CliRunner().invoke(main, [str(a) for a in args], input=text)
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result
