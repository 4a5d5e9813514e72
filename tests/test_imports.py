"""Which room may look into which, and what nobody may touch, read from the source itself."""

import ast
from pathlib import Path

import pytest

import mbrl_cli

PACKAGE = Path(mbrl_cli.__file__).parent
# A room may import from the rows above its own, and from itself.
ROWS = (
    ("types", "errors", "seeding", "process", "nets"),
    ("lock", "signals", "event_file"),
    ("envs",),
    ("replay",),
    ("models",),
    ("planners",),
    ("agents",),
    ("evaluation", "logger", "checkpoint"),
    ("store",),
    ("runner",),
    ("report",),
    ("config",),
    ("cli",),
    ("__main__",),
)
RANK = {room: rank for rank, row in enumerate(ROWS) for room in row}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)

# Calls that draw from a generator of the whole process unless they are given one.
DRAWING = {
    "rand", "randn", "randint", "randperm", "multinomial", "normal", "bernoulli", "poisson",
    "rand_like", "randn_like", "randint_like", "uniform_", "normal_", "bernoulli_", "random_",
    "exponential_", "cauchy_", "log_normal_", "geometric_",
}  # fmt: skip
SEEDING = {"manual_seed_all", "initial_seed", "set_rng_state", "get_rng_state"}
NUMPY_ALLOWED = {"default_rng", "Generator", "SeedSequence", "PCG64"}


def nodes(path):
    """Return all nodes of a file but those that only a type checker runs."""
    found = []

    def visit(node):
        found.append(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    visit(other)
            else:
                visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def imported(path):
    """Return the dotted names of everything that a file imports."""
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@each_file
def test_imports_point_one_way(path):
    here = room(path)
    for name in imported(path):
        package, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if package == "mbrl_cli" and there != here and there != "__version__":
            assert RANK[there] < RANK[here], f"{here} imports {name}"


@each_file
def test_only_config_and_the_command_line_know_hydra(path):
    if room(path) not in ("config", "cli"):
        assert not {name.partition(".")[0] for name in imported(path)} & {"hydra", "omegaconf"}


def global_randomness(path):
    """Return the source of every expression that seeds or draws from a process-wide generator."""
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names):
            found.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and node.module in ("random", "numpy.random"):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Attribute):
            text, owner = ast.unparse(node), ast.unparse(node.value)
            if owner in ("np.random", "numpy.random") and node.attr not in NUMPY_ALLOWED:
                found.append(text)
            if node.attr in SEEDING or text in ("torch.manual_seed", "torch.seed"):
                found.append(text)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in DRAWING:
            of_torch = ast.unparse(node.func).startswith("torch.") or node.func.attr.endswith("_")
            if of_torch and all(keyword.arg != "generator" for keyword in node.keywords):
                found.append(ast.unparse(node))
    return found


@each_file
def test_nothing_draws_from_a_generator_of_the_whole_process(path):
    assert global_randomness(path) == []


@pytest.mark.parametrize(
    ("line", "guilty"),
    [
        ("torch.manual_seed(0)", ["torch.manual_seed"]),
        ("np.random.seed(0)", ["np.random.seed"]),
        ("x = np.random.rand(3)", ["np.random.rand"]),
        ("x = torch.randn(3)", ["torch.randn(3)"]),
        ("x.uniform_(-1, 1)", ["x.uniform_(-1, 1)"]),
        ("import random", ["import random"]),
        ("from numpy.random import rand", ["from numpy.random import rand"]),
        ("x = torch.rand(3, generator=g) + np.random.default_rng(0).random()", []),
    ],
)
def test_the_search_for_global_randomness_finds_it(tmp_path, line, guilty):
    source = tmp_path / "source.py"
    source.write_text(f"{line}\n", encoding="utf-8")
    assert global_randomness(source) == guilty
