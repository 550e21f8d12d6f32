"""How the command line starts, helps, fails and stops."""

import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import xent.tabular.read
from xent.cli import main

COMMANDS = ("train", "predict", "evaluate", "compare", "recalibrate", "perplexity", "verify", "measure", "gallery")
HEAVY = (
    "numpy",
    "polars",
    "rich",
    "scipy",
    "sklearn",
    "safetensors",
    "torch",
    "jax",
    "pandas",
    "pyarrow",
    "matplotlib",
)


def modules_after(*args, cwd=None):
    """Run a command in a process of its own; return the modules it has loaded."""
    code = (
        "import sys\nfrom xent.cli import main\n"
        f"try: main({list(args)!r})\nexcept SystemExit as e: assert not e.code, e.code\n"
        "print('MODULES', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=True)
    return set(done.stderr.split("MODULES")[1].split())


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["-h"]])
def test_help_imports_nothing_heavy(args):
    loaded = modules_after(*args)
    assert loaded.isdisjoint(HEAVY)
    assert not {f"xent.cli.{name}" for name in COMMANDS} & loaded


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(command):
    loaded = modules_after(command, "--help")
    assert loaded.isdisjoint(HEAVY)
    assert {f"xent.cli.{name}" for name in COMMANDS} & loaded == {f"xent.cli.{command}"}


def test_judging_and_predicting_need_no_scikit_learn(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i % 7 + (i % 2)}.5,{'ab'[i % 2]}\n" for i in range(40)))
    run = CliRunner().invoke(main, ["train", str(tmp_path / "t.csv"), "-t", "y", "-o", str(tmp_path / "m.xent")])
    assert run.exit_code == 0, run.stderr
    for args in (
        ["predict", "m.xent", "t.csv", "-o", "p.csv"],
        ["evaluate", "p.csv", "-t", "y"],
        ["measure", "t.csv", "x", "y"],
    ):
        heavy = {"sklearn", "scipy", "torch", "jax", "pandas", "rich"}
        assert not heavy & modules_after(*args, cwd=tmp_path), args


def test_help_and_version():
    run = CliRunner().invoke(main, ["--help"])
    assert run.exit_code == 0
    assert all(name in run.stdout for name in COMMANDS)
    assert "Examples:" in run.stdout
    assert CliRunner().invoke(main, ["--version"]).stdout == f"xent {xent.__version__}\n"
    for name in COMMANDS:
        help_text = CliRunner().invoke(main, [name, "--help"]).stdout
        assert "Examples:" in help_text
        assert "--json" in help_text


def test_the_short_help_is_that_of_the_command():
    from xent.cli import _COMMANDS

    for name, short in _COMMANDS.items():
        command = main.get_command(None, name)
        assert command.name == name
        assert command.help.splitlines()[0] == short


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "no command 'trian'. Did you mean 'train'?"),
        (["train"], "Missing argument 'TABLE'"),
        (["train", "iris", "--fold", "3"], "No such option: --fold"),
        (["train", "iris", "--folds", "many"], "not a valid integer"),
        (["predict", "m.xent"], "Missing argument 'TABLE'"),
        (["evaluate", "f.csv"], "Missing option '--target'"),
        (["measure", "iris"], "Missing argument"),
    ],
)
def test_usage_errors_exit_with_2(args, message):
    run = CliRunner().invoke(main, args)
    assert run.exit_code == 2
    assert run.stdout == ""
    assert message.split("'")[0].split(":")[0] in run.stderr
    assert "Traceback" not in run.stderr


def test_errors_of_the_system_are_one_line(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(13, "Permission denied", "secret.csv")

    monkeypatch.setattr(xent.tabular.read, "read_table", fail)
    run = CliRunner().invoke(main, ["measure", "secret.csv", "x"])
    assert run.exit_code == 2
    assert run.stderr == "Error: secret.csv: permission denied\n"


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(xent.tabular.read, "read_table", lambda *_, **__: 1 / 0)
    assert isinstance(CliRunner().invoke(main, ["measure", "iris", "x"]).exception, ZeroDivisionError)


def test_interrupted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(xent.tabular.read, "read_table", interrupt)
    run = CliRunner().invoke(main, ["train", "iris"])
    assert run.exit_code == 130
    assert "nothing was written" in run.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends the signal of Ctrl-C to one process")
def test_interrupted_for_real(tmp_path):
    rows = "".join(f"{i % 97},{i % 89},{i * 7919 % 101},{'abc'[i % 3]}\n" for i in range(200_000))
    (tmp_path / "t.csv").write_text("x,z,w,y\n" + rows)
    code = "from xent.cli import main; main(['train', 't.csv', '-t', 'y'])"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("trained before it could be interrupted")
    assert process.returncode in (130, -signal.SIGINT)
    assert os.listdir(tmp_path) == ["t.csv"]
    assert "Error" not in err


def test_a_closed_output_is_no_error(monkeypatch):
    from xent.cli.output import print_table, progress_bar

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    print_table("title", ("a",), [("b",)])
    with progress_bar() as progress:
        progress("fitting", 1, 2)


def test_module_entry():
    done = subprocess.run([sys.executable, "-m", "xent.cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("xent ")
