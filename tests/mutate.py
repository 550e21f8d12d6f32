"""Break a sign, a number, a comparison or a function of each formula file, one at a time, and see that the tests fail.

    python tests/mutate.py                            # every file, every change: an hour on two cores
    python tests/mutate.py --sample 20                # 20 changes of each file, chosen by --seed
    python tests/mutate.py losses/focal rows/         # files with these in their path
    python tests/mutate.py --only margins/base.py:58  # the changes of these lines, at the end of a path each

The tests run in a copy of the tree. Each of `--jobs` processes loads the libraries once and forks for each change,
which it makes while the changed file is imported. A change that no test notices survives: it is printed, and the exit
code is 1, unless `mutate_equivalent` says why it changes nothing. Needs POSIX.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutate_equivalent import entries, reason

ROOT = Path(__file__).resolve().parent.parent
PLAIN = "not jax"
FORMULAS = ("tests/test_losses.py", "test_formulas and not jax")
OPTIONS = ("tests/test_losses.py", "test_options")
FUNCTIONS = ("tests/test_loss_options.py", "not jax and not torch_func and not weights_can")
LAYERS = ("tests/test_loss_layers.py", PLAIN)
EDGES = ("tests/test_edges.py", "not jax and not float16 and not worse")
RULES = ("tests/test_edge_rules.py", "not jax and not few and not options_hide")
TILES = ("tests/test_tiles.py", PLAIN)
MARGINS = [("tests/test_margin_values.py", ""), ("tests/test_margins.py", ""), ("tests/test_margins_use.py", PLAIN)]
MARGINS += [("tests/test_testing.py", "test_margins")]
# The quick tests of each file, in the order to run them: a file of tests, and which of it. JAX compiles, and is slow.
TESTS: dict[str, list[tuple[str, str]]] = {
    "losses/cross_entropy.py": [OPTIONS, ("tests/test_losses.py", "test_formulas and CE and not jax")],
    "losses/focal.py": [
        OPTIONS,
        ("tests/test_losses.py", "(test_formulas or test_focal) and (focal or slope) and not jax"),
    ],
    "losses/poly.py": [OPTIONS, ("tests/test_losses.py", "test_formulas and poly and not jax")],
    "losses/generalized.py": [OPTIONS, ("tests/test_losses.py", "test_formulas and generalised and not jax")],
    "losses/formula.py": [OPTIONS, ("tests/test_losses.py", "x_over or not_smoothed or slope_in"), FORMULAS],
    "losses/margins": MARGINS,
    "losses/margins/angle.py": [*MARGINS, ("tests/test_margins_libraries.py", "keeps_its_digits")],
    "kernels/arrays.py": [FUNCTIONS, FORMULAS, EDGES, RULES],
    "rows/softmax.py": [
        ("tests/test_row_functions.py", ""),
        *(FUNCTIONS, FORMULAS, LAYERS, EDGES, RULES),
        ("tests/test_functional_edges.py", ""),
        ("tests/test_half_precision.py", "widened or place"),
    ],
    "rows/probs.py": [RULES, ("tests/test_functional.py", "prob"), ("tests/test_functional_edges.py", "")],
    "rows/linear.py": [LAYERS, ("tests/test_functional.py", "linear or weights or gradient")],
    "rows/binary.py": [("tests/test_binary.py", PLAIN)],
    "rows/distance.py": [("tests/test_distance_losses.py", ""), ("tests/test_distance_edges.py", PLAIN), TILES],
    "rows/divergence.py": [("tests/test_divergence_losses.py", ""), ("tests/test_divergence_edges.py", PLAIN), TILES],
    "rows/jacobian.py": [("tests/test_divergence_losses.py", ""), ("tests/test_distance_losses.py", "")],
    "rows/normal.py": [("tests/test_ordinal.py", PLAIN)],
    "rows/ordinal.py": [("tests/test_ordinal.py", PLAIN)],
}
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
SWAPS |= {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
TURNS = {ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
OTHERS = {"exp": "expm1", "expm1": "exp", "log": "log1p", "log1p": "log", "sin": "cos", "cos": "sin"}
OTHERS |= {"max": "min", "min": "max", "argmax": "argmin", "ones_like": "zeros_like", "zeros_like": "ones_like"}
# What the tests load, once for all changes.
LOADED = ("array_api_compat.numpy", "array_api_compat.torch", "jax.numpy", "ml_dtypes", "mpmath", "numpy.testing")
LOADED += ("scipy.special", "torch._dynamo", "torch._functorch.apis", "torch.func", "unittest.mock")
# Where a change is no formula's: shapes, messages, annotations; checks of lengths, and copies that need not be.
SKIPPED_KEYWORDS = {"axis", "keepdims", "dtype", "frozen", "err_msg", "strict", "copy"}


@dataclass(frozen=True)
class Change:
    """One change of a file.

    Attributes
    ----------
    file : below src/xent
    line : where
    before, after : the smallest expression around it
    path : how to find the node in the tree, as `places` numbers it
    """

    file: str
    line: int
    before: str
    after: str
    path: tuple[int, int]

    def __str__(self) -> str:
        return f"src/xent/{self.file}:{self.line}  {self.before}  ->  {self.after}"


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """The nodes of a file that may be changed, each with the expression around it, in a fixed order."""

    def walk(node: ast.AST, around: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        for name, child in ast.iter_fields(node):
            for item in child if isinstance(child, list) else [child]:
                if not isinstance(item, ast.AST) or skipped(node, name, item):
                    continue
                inner = around if isinstance(item, (ast.Constant, ast.operator, ast.cmpop, ast.expr_context)) else item
                inner = inner if isinstance(inner, (ast.expr, ast.AnnAssign, ast.keyword)) else around
                yield item, around
                yield from walk(item, inner)

    yield from walk(tree, tree)


def skipped(node: ast.AST, name: str, item: ast.AST) -> bool:
    """Whether a part of the tree is none of a formula's."""
    if isinstance(item, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Assert)):
        return True
    if name in ("annotation", "returns", "decorator_list", "bases", "slice"):
        return True
    if isinstance(node, ast.keyword) and node.arg in SKIPPED_KEYWORDS:
        return True
    if isinstance(item, ast.keyword) and item.arg in SKIPPED_KEYWORDS:
        return True
    return isinstance(item, ast.ClassDef) and any("Protocol" in ast.unparse(b) for b in item.bases)


def mutate(node: ast.AST) -> bool:
    """Change a node in place, if it can be."""
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in SWAPS:
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert)):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.USub()
        if isinstance(node.op, ast.USub):  # the inverse of the inverse
            node.op, node.operand = ast.Invert(), ast.UnaryOp(ast.Invert(), node.operand)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in TURNS:
        node.ops[0] = TURNS[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        node.value = other_number(node.value)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        node.value = not node.value
    elif isinstance(node, ast.Attribute) and node.attr in OTHERS:
        node.attr = OTHERS[node.attr]
    else:
        return False
    return True


def other_number(value: float) -> float:
    """A number that is not this one, of its kind."""
    if isinstance(value, int):
        return value + 1 if value < 100 else value + value // 2
    return 1.0 if value == 0 else 2.0 if value == 1 else 1.5 * value


def changes(file: str, source: str) -> list[Change]:
    """All of a file."""
    tree = ast.parse(source)
    strip_docstrings(tree)
    found = []
    for number, (node, around) in enumerate(places(tree)):
        target = node if isinstance(node, (ast.BinOp, ast.Compare, ast.UnaryOp, ast.BoolOp, ast.Attribute)) else around
        if isinstance(target, ast.Module) or len(ast.unparse(target)) > 300:
            target = node
        before = ast.unparse(target)
        saved = copy.copy(node)
        if not mutate(node):
            continue
        after = ast.unparse(target)
        node.__dict__.clear()
        node.__dict__.update(saved.__dict__)
        restore(node, saved)
        if after != before:
            found.append(Change(file, getattr(node, "lineno", 0), before, after, (number, 0)))
    return found


def restore(node: ast.AST, saved: ast.AST) -> None:
    """Undo what `mutate` did to a comparison's list, which a shallow copy shares."""
    if isinstance(node, ast.Compare):
        back = {v: k for k, v in TURNS.items()}
        node.ops[0] = back[type(node.ops[0])]()
    assert ast.unparse(node) == ast.unparse(saved)


def strip_docstrings(tree: ast.Module) -> None:
    """Take out what is no code."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]


def changed(source: str, change: Change) -> ast.Module:
    """The tree of a file with the change in it."""
    tree = ast.parse(source)
    strip_docstrings(tree)
    for number, (node, _) in enumerate(places(tree)):
        if number == change.path[0]:
            mutate(node)
            return ast.fix_missing_locations(tree)
    raise LookupError(change)


# ---- in a worker: a process in the copy


class Finder:
    """Imports one module from a tree that is given."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """A loader for that module alone."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def create_module(self, spec: object) -> None:
        """As usual."""

    def exec_module(self, module: object) -> None:
        """The changed code."""
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def work() -> None:
    """Read changes from standard input, a line each, and write what became of them."""
    # the copy's package, not the one that is installed for editing
    sys.meta_path[:] = [f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__]
    sys.path.insert(0, str(Path("src").resolve()))
    for name in LOADED:
        importlib.import_module(name)
    import pytest

    for line in sys.stdin:
        asked = json.loads(line)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            run_child(pytest, asked, write)
        os.close(write)
        os.waitpid(pid, 0)
        with os.fdopen(read) as pipe:
            print(pipe.read() or "killed: it crashed", flush=True)


def run_child(pytest: object, asked: dict, write: int) -> None:
    """Run the tests on a change, and never return."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    signal.signal(signal.SIGALRM, lambda *_: (os.write(write, b"killed: it took too long"), os._exit(0)))
    signal.alarm(asked["timeout"])
    if asked["change"]:
        change = Change(**asked["change"])
        path = Path("src/xent", change.file).resolve()
        name = "xent." + change.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        sys.meta_path.insert(0, Finder(name, path, changed(path.read_text(encoding="utf-8"), change)))
    outcome = "survived"
    for file, which in asked["tests"]:
        code = pytest.main(
            ["-o", "addopts=", "-x", "-q", "-p", "no:cacheprovider", file, *(["-k", which] if which else [])]
        )
        if code != 0:
            outcome = {1: "killed", 5: "no tests"}.get(int(code), f"killed: pytest says {int(code)}")
            break
    os.write(write, outcome.encode())
    os._exit(0)


# ---- in the main process


class Worker:
    """A process that runs the tests."""

    def __init__(self, tree: Path) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "tests/mutate.py", "--work"],
            cwd=tree,
            env={**os.environ, **threads, "PYTHONPATH": str(tree / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, change: Change | None, tests: list[tuple[str, str]], timeout: int) -> str:
        """What became of a change; of none: whether the tests pass."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = {"change": None if change is None else change.__dict__, "tests": tests, "timeout": timeout}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def copy_tree(to: Path) -> None:
    """The package with its compiled part, and the tests."""
    shutil.copytree(ROOT / "src", to / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", to / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", to)
    spec = importlib.util.find_spec("xent.kernels._cpu")
    if spec is None or spec.origin is None:
        raise SystemExit("the native kernels are not built: pip install -e . first")
    shutil.copy(spec.origin, to / "src" / "xent" / "kernels")


def tests_of(file: str) -> list[tuple[str, str]] | None:
    """The tests of a file, by its name or its folder's."""
    return TESTS.get(file) or TESTS.get(str(Path(file).parent))


def run(tree: Path, wanted: list[Change], jobs: int, timeout: int) -> list[tuple[Change, str]]:
    """Try all changes."""
    from concurrent.futures import ThreadPoolExecutor
    from queue import SimpleQueue

    free: SimpleQueue[Worker] = SimpleQueue()
    workers = [Worker(tree) for _ in range(jobs)]
    for worker in workers:
        free.put(worker)
    started, done = time.monotonic(), 0

    def ask(change: Change | None, tests: list[tuple[str, str]]) -> str:
        worker = free.get()
        try:
            return worker.ask(change, tests, timeout)
        finally:
            free.put(worker)

    def unchanged(test: tuple[str, str]) -> None:
        outcome = ask(None, [test])
        if outcome != "survived":
            raise SystemExit(f"the tests do not pass with nothing changed ({outcome}): {test}")

    def one(change: Change) -> tuple[Change, str]:
        nonlocal done
        outcome = ask(change, tests_of(change.file) or [])
        done += 1
        if outcome == "survived":
            known = reason(change.file, change.before, change.after)
            print(f"equivalent: {change}  ({known})" if known else f"SURVIVED: {change}", flush=True)
        if done % 50 == 0:
            print(f"{done} of {len(wanted)} after {time.monotonic() - started:.0f} s", flush=True)
        return change, outcome

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(unchanged, {test: None for change in wanted for test in tests_of(change.file) or []}))
        print(f"the tests pass with nothing changed, after {time.monotonic() - started:.0f} s", flush=True)
        results = list(pool.map(one, wanted))
    for worker in workers:
        worker.close()
    return results


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="parts of paths below src/xent; by default all formula files")
    parser.add_argument("--only", nargs="+", metavar="FILE:LINE", help="the changes of these lines alone")
    parser.add_argument("--sample", type=int, help="this many changes of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=300, help="seconds for a change; more is as good as a failure")
    parser.add_argument("--list", action="store_true", help="print the changes and stop")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work()
        return 0
    folders = [ROOT / "src/xent" / part for part in TESTS]
    paths = sorted({p for f in folders for p in (f.glob("*.py") if f.is_dir() else [f]) if p.exists()})
    files = [p.relative_to(ROOT / "src/xent").as_posix() for p in paths if p.name != "__init__.py"]
    files = [f for f in files if not asked.files or any(part in f for part in asked.files)]
    files = [f for f in files if not asked.only or any(f.endswith(line.split(":")[0]) for line in asked.only)]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        wanted: list[Change] = []
        for file in files:
            every = changes(file, (tree / "src/xent" / file).read_text(encoding="utf-8"))
            stale = entries(file) - {(c.before, c.after) for c in every}
            if stale:
                raise SystemExit(f"mutate_equivalent lists changes of {file} that there are not: {sorted(stale)}")
            if asked.only:
                every = [c for c in every if any(f"{c.file}:{c.line}".endswith(line) for line in asked.only)]
            picked = random.Random(asked.seed).sample(every, min(asked.sample or len(every), len(every)))
            print(f"{file}: {len(picked)} of {len(every)} changes", flush=True)
            wanted += sorted(picked, key=lambda c: c.path)
        if asked.list:
            print(*wanted, sep="\n")
            return 0
        results = run(tree, wanted, asked.jobs, asked.timeout)
    alive = [c for c, outcome in results if outcome == "survived"]
    new = [c for c in alive if not reason(c.file, c.before, c.after)]
    noticed, equivalent = len(results) - len(alive), len(alive) - len(new)
    print(f"{len(results)} changes: {noticed} noticed, {equivalent} equivalent, {len(new)} survived")
    print(*(f"survived: {c}" for c in new), sep="\n")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
