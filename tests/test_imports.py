"""Import rules: packages are layered, no import cycles, no process-wide random generators.

The rules are checked on the source text. Imports under `if TYPE_CHECKING:` and inside functions
count like any other import.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mbrl_cli

PACKAGE = Path(mbrl_cli.__file__).parent
# Each package or top-level module may import from the rows above its own, and from itself.
LAYERS = (
    ("types", "errors", "seeding", "threads_and_malloc", "nets", "event_records", "tags"),
    ("tensorboard_pages",),
    ("run_files",),
    ("trackers", "lock", "signals", "standard_streams", "event_file", "metrics_csv"),
    ("run_settings", "stopwatch", "optimism_gap", "divergence", "return_text"),
    ("console",),
    ("envs",),
    ("replay",),
    ("models",),
    ("planners", "episode_video", "grid_figure"),
    ("agents",),
    ("evaluation_envs", "episode_steps", "training_episode", "logger", "checkpoint"),
    ("evaluation",),
    ("checkpoint_store", "callbacks"),
    ("runner",),
    ("config",),
    ("api",),
    ("reports", "playback"),
    ("diagnosis", "search"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LAYER_OF = {name: index for index, layer in enumerate(LAYERS) for name in layer}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)

# Calls that draw from the process-wide generator unless they get one as an argument.
DRAWING = {
    "rand", "randn", "randint", "randperm", "multinomial", "normal", "bernoulli", "poisson",
    "rand_like", "randn_like", "randint_like", "uniform_", "normal_", "bernoulli_", "random_",
    "exponential_", "cauchy_", "log_normal_", "geometric_",
}  # fmt: skip
SEEDING = {"manual_seed_all", "initial_seed", "set_rng_state", "get_rng_state"}
NUMPY_ALLOWED = {"default_rng", "Generator", "SeedSequence", "PCG64"}


def nodes(path):
    """Return all syntax nodes of a file."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


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


def module_name(path):
    """Return the dotted name of a file below `mbrl_cli`, for example `envs.make`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def top_level_name(path):
    """Return the package or top-level module that a file belongs to, for example `envs`."""
    return module_name(path).partition(".")[0]


def import_graph():
    """Return for each module the modules of `mbrl_cli` that it imports."""
    modules = {module_name(path) for path in FILES}
    graph = {}
    for path in FILES:
        names = [
            name.removeprefix("mbrl_cli.")
            for name in imported(path)
            if name.startswith("mbrl_cli.")
        ]
        # `a.b.f` is either the module a.b.f, or the name f of the module a.b.
        targets = {name if name in modules else name.rpartition(".")[0] for name in names}
        graph[module_name(path)] = targets & modules
    return graph


def cycle_in(graph):
    """Return one cycle as a list of modules, or None if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


@each_file
def test_packages_import_only_from_lower_layers(path):
    here = top_level_name(path)
    for name in imported(path):
        package, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if package == "mbrl_cli" and there != here and there != "__version__":
            assert LAYER_OF[there] < LAYER_OF[here], f"{here} imports {name}"


def test_every_package_and_top_level_module_has_a_layer():
    assert set(LAYER_OF) == {top_level_name(path) for path in FILES}


def test_files_do_not_import_each_other_in_a_cycle():
    assert cycle_in(import_graph()) is None


def test_the_cycle_check_finds_a_cycle_of_two_and_of_three():
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert set(cycle_in({"a": {"b"}, "b": {"a"}})) == {"a", "b"}
    assert set(cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_imports_for_type_checkers_and_inside_functions_are_seen(tmp_path):
    source = tmp_path / "source.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from mbrl_cli.a import A\n"
        "def f():\n    import mbrl_cli.b\n",
        encoding="utf-8",
    )
    assert {"mbrl_cli.a.A", "mbrl_cli.b"} <= imported(source)


@each_file
def test_only_config_and_the_command_line_import_hydra(path):
    if top_level_name(path) not in ("config", "cli"):
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
            # `generator.initial_seed()` reads the seed of a generator that was passed in.
            is_own = text == "generator.initial_seed"
            if (node.attr in SEEDING and not is_own) or text in ("torch.manual_seed", "torch.seed"):
                found.append(text)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in DRAWING:
            of_torch = ast.unparse(node.func).startswith("torch.") or node.func.attr.endswith("_")
            if of_torch and all(keyword.arg != "generator" for keyword in node.keywords):
                found.append(ast.unparse(node))
    return found


# They handle the generators from which environments draw.
HANDLE_ENVIRONMENTS_GENERATORS = ("envs/global_random.py", "envs/env_copies.py")


@each_file
def test_no_file_draws_from_a_process_wide_generator(path):
    if path.relative_to(PACKAGE).as_posix() not in HANDLE_ENVIRONMENTS_GENERATORS:
        assert global_randomness(path) == []


@pytest.mark.parametrize(
    ("line", "expected"),
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
def test_the_search_for_global_randomness_finds_it(tmp_path, line, expected):
    source = tmp_path / "source.py"
    source.write_text(f"{line}\n", encoding="utf-8")
    assert global_randomness(source) == expected
