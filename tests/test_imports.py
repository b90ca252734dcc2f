"""Imports run one way: configs -> studies -> harness -> results -> models -> dropout."""

import ast
import graphlib
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[1]
# From the lowest to the highest; a module may import those of its own layer and of lower ones.
LAYERS = (
    ("flaxdrop",),  # dropout, placement, mask, hashing and what else lies beside them
    ("flaxdrop.ops",),
    ("flaxdrop.models",),
    ("flaxdrop.weights", "flaxdrop.theory", "flaxdrop.analysis", "flaxdrop.data"),
    ("flaxdrop.nnx",),
    ("flaxdrop.training",),
    ("flaxdrop.results",),
    ("flaxdrop.plots",),
    ("benchmarks.harness",),
    ("benchmarks.findings",),
    ("benchmarks",),  # studies and tools
    ("benchmarks.reproduction", "benchmarks.throughput"),
    ("benchmarks.report", "benchmarks.reproduce"),
    ("configs",),
)
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("flaxdrop", "benchmarks", "configs")
    for path in (ROOT / package).rglob("*.py")
}


def layer(module):
    """The number of the longest name in `LAYERS` that the module's begins with."""
    found = [
        (len(name), number)
        for number, names in enumerate(LAYERS)
        for name in names
        if f"{module}.".startswith(f"{name}.")
    ]
    return max(found)[1]


def imports(module, *, inside_functions):
    """The modules of this repository that a module imports."""
    nodes = [ast.parse(FILES[module].read_text())]
    found = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in FILES else node.module)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if inside_functions or not isinstance(node, ast.FunctionDef):
            nodes += ast.iter_child_nodes(node)
    return (found & FILES.keys()) - {module}


def test_no_import_runs_up():
    assert [
        f"{module} -> {imported}"
        for module in sorted(FILES)
        for imported in sorted(imports(module, inside_functions=True))
        if layer(imported) > layer(module)
    ] == []


def test_no_module_imports_itself_by_others():
    graph = {module: imports(module, inside_functions=False) for module in FILES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_what_is_installed_for_tests_is_not_imported():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"\W", package)[0] for package in extras["optional-dependencies"]["test"]}
    assert "chex" in names - {re.split(r"\W", package)[0] for package in extras["dependencies"]}
    assert {
        f"{module} -> {node}"
        for module, path in FILES.items()
        for node in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
        if node in names - {"flaxdrop"}
    } == set()


def test_configs_load_no_engine():
    engine = {
        "orbax",
        "matplotlib",
        "benchmarks.harness.command",
        "benchmarks.harness.run",
        "flaxdrop.training.loop",
        "flaxdrop.training.checkpoint",
    }
    configs = ", ".join(
        f"configs.{name}" for name in ("digits", "vgg_cifar10", "head_digits", "transfer_digits")
    )
    program = f"import sys, {configs}; print(*{engine} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
