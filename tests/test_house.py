"""The house keeps its shape: layers, the cost of imports, examples that run, a README that is true."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xent

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "xent"

# Each part of the package, and the parts it may import. Their order is the order of docs/design.md, top down.
LAYERS = {
    "cli": {"tabular", "evaluate", "plot", "info"},
    "plot": {"functional", "losses", "info"},
    "tabular": {"evaluate", "linear_model", "info", "losses", "_files"},
    "linear_model": {
        "second_order",
        "objective",
        "curvature",
        "preconditioned",
        "class_factors",
        "coordinates",
        "solvers",
        "functional",
        "losses",
        "_arrays",
        "_files",
        "_blas",
    },
    "evaluate": {"functional", "objective", "solvers", "losses", "info", "_blas"},
    "testing": {"functional", "autodiff", "rows", "kernels", "losses", "_arrays"},
    "second_order": {
        "objective",
        "curvature",
        "preconditioned",
        "class_factors",
        "class_means",
        "coordinates",
        "kernels",
        "_blas",
    },
    "objective": {"kernels", "losses", "curvature", "_blas"},
    "curvature": {"kernels", "preconditioned", "class_factors", "coordinates", "_blas"},
    "preconditioned": {"class_means", "class_factors", "coordinates"},
    "class_means": {"class_factors", "coordinates", "_blas"},
    "class_factors": {"coordinates", "kernels", "_blas"},
    "coordinates": {"kernels", "_blas"},
    "functional": {"autodiff", "rows", "kernels", "losses", "_arrays"},
    "autodiff": {"rows", "kernels", "_arrays"},
    "rows": {"kernels", "losses", "info", "_arrays"},
    "solvers": set(),
    "kernels": {"_arrays"},
    "losses": {"_arrays"},
    "info": {"_arrays"},
    "_arrays": set(),
    "_files": set(),
    "_blas": {"kernels"},
}
# Within these, no file imports a sibling but for the shared ones named.
NO_SIBLINGS = {
    "losses": {"formula"},
    "rows": {"softmax", "jacobian", "normal", "tiles"},
    "solvers": {"foresight", "problem", "l1_quadratic", "l1_descent", "newton_cholesky", "stochastic"},
    "kernels": {"contract", "plan", "threads", "_cpu", "operands"},
    "cli": None,
}


def imports(path: Path) -> set[tuple[str, ...]]:
    """The modules of xent that a file imports, as paths below xent."""
    here = path.relative_to(SRC.parent).with_suffix("").parts
    package = here[:-1]
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):  # imports for annotations cost nothing and bind nothing
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {tuple(a.name.split(".")[1:]) for a in node.names if a.name.split(".")[0] == "xent"}
        elif isinstance(node, ast.ImportFrom):
            module = tuple((node.module or "").split(".")) if node.module else ()
            if node.level:
                module = package[: len(package) - node.level + 1] + module
            if module[:1] == ("xent",):
                found |= {(*module, a.name)[1:] for a in node.names}
    return found


def files():
    return [p for p in sorted(SRC.rglob("*.py")) if p.name != "__init__.py" or p.parent != SRC]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(SRC)))
def test_imports_point_down(path):
    part = path.relative_to(SRC).parts[0].removesuffix(".py")
    assert part in LAYERS, f"{part} has no place in the layers: give it one here and in docs/design.md"
    for target in imports(path):
        if not target or target[0] in ("__version__", part):
            continue
        assert target[0] in LAYERS[part], f"{path.name} ({part}) imports {'.'.join(target)}"
    shared = NO_SIBLINGS.get(part)
    if shared is not None and path.name != "__init__.py":
        siblings = {t[1] for t in imports(path) if t[0] == part and len(t) > 1}
        siblings &= {p.stem for p in path.parent.iterdir()} - {path.stem}
        assert siblings <= shared, f"{path.name} imports its sibling {siblings - shared}"


def test_layers_have_no_cycle():
    seen: list[str] = []
    left = dict(LAYERS)
    while left:
        free = [part for part, below in left.items() if not below & set(left)]
        assert free, f"a cycle among {sorted(left)}"
        seen += free
        for part in free:
            del left[part]
    assert set(seen) == set(LAYERS)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import xent", ["numpy", "scipy", "sklearn", "torch", "jax", "matplotlib", "polars", "click", "rich"]),
        ("import xent; xent.cross_entropy([[0.0, 1.0]], [1])", ["scipy", "sklearn", "torch", "jax", "polars", "click"]),
        ("import xent; xent.info.entropy([0.5, 0.5])", ["scipy", "sklearn", "torch", "jax", "polars", "click"]),
        ("import xent.linear_model", ["torch", "jax", "matplotlib", "polars", "click", "rich"]),
    ],
)
def test_an_import_loads_no_more_than_it_needs(code, absent):
    check = f"{code}\nimport sys\nloaded = [m for m in {absent!r} if m in sys.modules]\nassert not loaded, loaded"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=120)


def modules():
    return [m.name for m in pkgutil.walk_packages(xent.__path__, "xent.") if not m.name.endswith(("_cpu", "__main__"))]


@pytest.mark.parametrize("name", ["xent", *modules()])
def test_examples_run(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def test_public_functions_have_examples():
    for name in ("cross_entropy", "binary_cross_entropy", "linear_cross_entropy", "value_and_grad"):
        assert ">>>" in getattr(xent, name).__doc__
    for name in xent.info.__all__:
        assert ">>>" in getattr(xent.info, name).__doc__, name


def test_ci_runs_the_readmes_test_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*$", readme, re.MULTILINE)
    assert len(commands) == 2, "the README has one command that does the main job, and one that tests"
    first, second = commands
    assert first.endswith("xent train digits")
    assert second in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert first in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_lower_bounds_are_the_ones_tested():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL).group(1)
    bounds = dict(re.findall(r'"([a-z-]+)>=([0-9.]+)"', core))
    oldest = dict(re.findall(r"^([a-z-]+)==([0-9.]+)$", (ROOT / ".github/oldest.txt").read_text(), re.MULTILINE))
    assert bounds.keys() == oldest.keys()
    for name, bound in bounds.items():
        assert oldest[name].startswith(bound), name


def test_one_version():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{xent.__version__}"' in text
