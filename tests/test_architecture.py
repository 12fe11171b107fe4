"""Who may import whom: one table of rooms, held against every import of every file."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import keras_int8nmt

PACKAGE = Path(keras_int8nmt.__file__).resolve().parent
SOURCES = Path(__file__).resolve().parents[1]
NAME = "keras_int8nmt"

# What the table speaks of; other packages are nobody's business here.
FRAMEWORKS = (
    "numpy", "keras", "tensorflow", "jax", "sentencepiece", "tokenizers", "sacrebleu",
    "pyarrow", "ray",
)  # fmt: skip
HEAVY = ("keras", "tensorflow", "jax")
# Of the extra `serve`, by the names that are imported.
EXTRAS = ("starlette", "python_multipart", "selectolax", "sentencex", "uvicorn")


class Room(NamedTuple):
    """A part of the package: what it may know of the frameworks, and whether it is the run side.

    `knows`: when its modules are imported, in a function, or for types.
    """

    name: str
    knows: str = ""
    run_side: bool = False


# From the ground up: a room may import from rooms of lower rows, and from itself. A row with a dot
# is a part of a room that may know other things than the rest; the longest name that fits counts.
ROOMS = [
    [
        Room("_version", run_side=True),
        Room("_arguments", run_side=True),
        Room("_faces", run_side=True),
        Room("_memory", run_side=True),
        Room("_progress", run_side=True),
        Room("_registration", run_side=True),
        Room("_threads", run_side=True),
        Room("_tables", run_side=True),
        Room("_text", run_side=True),
        Room("_untrusted", run_side=True),
        Room("errors", run_side=True),
        Room("quantization", "numpy", run_side=True),
        Room("native", "numpy", run_side=True),
    ],
    [
        Room("thresholds", "numpy", run_side=True),
        Room("files", run_side=True),
        Room("files.parquet", "pyarrow", run_side=True),
        Room("tokenizers", "sentencepiece sacremoses tokenizers", run_side=True),
        Room("runtime", "numpy", run_side=True),
    ],
    [Room("storage.folders", run_side=True), Room("storage.card", run_side=True)],
    [Room("translation", "numpy", run_side=True)],
    [Room("clusters", "ray", run_side=True)],
    [Room("evaluation", "numpy sacrebleu", run_side=True), Room("serving", run_side=True)],
    # ---- the build side
    [Room("ops", "numpy tensorflow"), Room("ops.integer_rules", "numpy")],
    [
        Room("layers", "numpy keras"),
        Room("layers.observing", "numpy keras"),
        # A branch of the graph is a back end's own: TensorFlow's where Keras runs on it.
        Room("layers.observing.branches", "keras tensorflow"),
        Room("layers.inference", "numpy keras tensorflow"),
    ],
    [Room("keras_engine", "numpy tensorflow")],
    [
        Room("models", "numpy keras"),
        Room("models.int8_transformer", "numpy keras tensorflow"),
        Room("models.int8_blocks", "numpy keras tensorflow"),
        Room("models.weights_token", "numpy tensorflow"),
    ],
    [
        Room("callbacks", "keras"),
        Room("importers", "numpy keras"),
        Room("conversion", "numpy keras"),
        Room("training", "numpy keras sentencepiece"),
        Room("training.tf_data", "tensorflow"),
    ],
    [Room("calibration", "numpy keras"), Room("calibration.feeds", "numpy tensorflow")],
    [
        Room("storage", "numpy keras"),
        Room("storage.saved_model", "numpy tensorflow"),
        Room("storage.stock_search", "numpy tensorflow"),
    ],
    [Room("autotuning", "numpy keras tensorflow sacrebleu"), Room("report", "numpy sacrebleu")],
    [
        Room("bench", "numpy keras tensorflow jax"),
        # It puts a piece into a vocabulary.
        Room("bench.peers.start", "keras sentencepiece"),
    ],
    [Room("cli")],
]
ROWS = {room.name: row for row, rooms in enumerate(ROOMS) for room in rooms}
BY_NAME = {room.name: room for rooms in ROOMS for room in rooms}
RUN_SIDE = [room.name for rooms in ROOMS for room in rooms if room.run_side]


# Files that load what others define on first use, for whoever asks.
FACES = {
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("__init__.py")
    if "lazy_face(" in path.read_text(encoding="utf-8")
}


class Import(NamedTuple):
    """One imported module, where, and how: at the top, in a function, or for types alone."""

    file: str
    line: int
    module: str
    how: str


def module_of(path: Path) -> str:
    """The dotted name of a file below the package; a package's `__init__` is the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> Room | None:
    """The room of a module named below the package; None of the package itself."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        found = BY_NAME.get(".".join(parts[:length]))
        if found is not None:
            return found
    return None


def imports(tree: ast.Module, file: str) -> Iterator[Import]:
    """Every import of a file, those inside functions and under `TYPE_CHECKING` too."""

    def walk(node: ast.AST, how: str) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            kind = how
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                kind = "function"
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                kind = "types"
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(file, child.lineno, alias.name, how)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{file}:{child.lineno}: a relative import"
                for alias in child.names:
                    name = f"{child.module}.{alias.name}"
                    module = name if name.partition(".")[2] in MODULES else str(child.module)
                    yield Import(file, child.lineno, module, how)
            yield from walk(child, kind)

    return walk(tree, "top")


def all_imports() -> list[Import]:
    found = []
    for path in MODULES.values():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.extend(imports(tree, path.relative_to(PACKAGE).as_posix()))
    return found


IMPORTS = all_imports()


def is_face(one: Import) -> bool:
    """Whether the importing file is a package's face, which loads names for whoever asks."""
    return one.file in FACES


def own(one: Import) -> str | None:
    """The imported module below the package, if it is one of ours."""
    if one.module == NAME:
        return ""
    return one.module.partition(".")[2] if one.module.startswith(NAME + ".") else None


def importer(one: Import) -> str:
    return module_of(PACKAGE / one.file)


def test_every_module_is_in_a_room_and_every_row_is_a_room():
    assert not [name for name in MODULES if name and room_of(name) is None]
    assert not [name for name in BY_NAME if name not in MODULES]


def test_the_root_holds_faces_and_ground_rules_alone():
    at_root = {name for name in MODULES if name and "." not in name}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert at_root - folders == {room.name for room in ROOMS[0]}


def upward() -> list[str]:
    """Arrows that do not go down: from a room to one of the same row or a higher one."""
    found = []
    for one in IMPORTS:
        target, source = own(one), importer(one)
        if target is None or is_face(one):
            continue
        here, there = room_of(source), room_of(target)
        if target == "" or there is None:
            found.append(f"{one.file}:{one.line} imports the face of the package")
            continue
        inside = here is None or source.partition(".")[0] == target.partition(".")[0]
        if not inside and ROWS[there.name] >= ROWS[here.name] and here not in ROOMS[0]:
            found.append(f"{one.file}:{one.line} {here.name} -> {target} ({one.how})")
    return found


def test_no_room_imports_upward():
    assert not upward()


def test_ground_rules_know_only_one_another():
    ground = {room.name for room in ROOMS[0]}
    wrong = [one for one in IMPORTS if importer(one) in ground and own(one) is not None]
    assert not [one for one in wrong if own(one) not in ground]


def test_no_circle_of_modules():
    arrows: dict[str, set[str]] = {name: set() for name in MODULES}
    for one in IMPORTS:
        target = own(one)
        if target and one.how != "types" and not is_face(one) and target in MODULES:
            arrows[importer(one)].add(target)
    state: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert state.get(name) != 1, f"a circle: {' -> '.join((*path, name))}"
        if name in state:
            return
        state[name] = 1
        for target in sorted(arrows[name] - {name}):
            visit(target, (*path, name))
        state[name] = 2

    for name in arrows:
        visit(name, ())


def test_names_are_imported_from_their_homes_and_not_through_faces():
    faces = {
        module_of(path)
        for path in MODULES.values()
        if path.name == "__init__.py" and "lazy_face(" in path.read_text(encoding="utf-8")
    }
    wrong = [one for one in IMPORTS if own(one) in faces and not is_face(one)]
    assert not [f"{one.file}:{one.line} {one.module}" for one in wrong]


def test_rooms_know_no_other_frameworks_than_the_table_says():
    wrong = []
    for one in IMPORTS:
        top, room = one.module.partition(".")[0], room_of(importer(one))
        known = "" if room is None else room.knows
        if top in FRAMEWORKS and top not in known.split() and not is_face(one):
            wrong.append(f"{one.file}:{one.line} {top} ({one.how})")
    assert not wrong


def test_the_run_side_imports_the_run_side_alone():
    wrong = []
    for one in IMPORTS:
        room, target = room_of(importer(one)), own(one)
        if room is None or not room.run_side or target is None or is_face(one):
            continue
        there = room_of(target)
        if there is None or not there.run_side:
            wrong.append(f"{one.file}:{one.line} {target} ({one.how})")
    assert not wrong


RUN = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"the run side imported {{name}}")

sys.meta_path.insert(0, Refuse())
import importlib
for name in {modules!r}:
    try:
        importlib.import_module("keras_int8nmt." + name)
    except ModuleNotFoundError as error:
        # Of an extra that is not installed here.
        if not name.startswith("serving.") or error.name.partition(".")[0] not in {extras!r}:
            raise
print("imported", len({modules!r}))
"""


def test_the_run_side_is_imported_where_keras_tensorflow_and_jax_are_missing():
    modules = [m for m in MODULES if m and (room := room_of(m)) is not None and room.run_side]
    program = RUN.format(heavy=HEAVY, modules=modules, extras=EXTRAS)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == f"imported {len(modules)}", done.stderr


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "import keras_int8nmt\n"
        "print(time.perf_counter() - start, file=sys.stderr)\n"
        f"print(sorted({set(FRAMEWORKS)!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    print(f"import keras_int8nmt: {1000 * float(done.stderr):.0f} ms")


# What names one member of each table: its own file, its row, and what the cost of change allows.
COSTS = {
    "a search option": (
        r"\bno_repeat_ngram",
        {
            "runtime/no_repeat_ngram.py",
            "runtime/search_options.py",
            "translation/translator.py",
            "cc/decoder/token_filters.cc",
        },
    ),
    "a threshold mode": (r"thresholds\.entropy", {"thresholds/modes.py"}),
    "an importer": (r"importers\.marian", {"importers/table.py", *sorted(FACES)}),
    # Its own row, and that of the format whose folders it reads.
    "a tokenizer": (
        r"tokenizers\.marian",
        {"tokenizers/kinds.py", "importers/table.py", *sorted(FACES)},
    ),
    "a command": (r"cli\.resave|\bresave\b", {"cli/resave.py", "cli/commands.py"}),
    "a benchmark": (r"run_startup", {"bench/startup/run.py", "bench/benchmarks.py"}),
    "a GEMM back end": (
        r"MklGemm",
        {"cc/kernels/gemm/mkl.cc", "cc/kernels/gemm/backends.def"},
    ),
}


@pytest.mark.parametrize("what", COSTS)
def test_a_new_one_of_a_table_touches_no_more_files_than_the_cost_of_change_says(what):
    pattern, allowed = COSTS[what]
    # Benchmarks and the demo work with one format that they know, the built-in model's.
    apart = ("bench/accuracy/", "bench/translation/", "bench/corpus/", "bench/paper/", "cli/demo")
    if what == "a tokenizer":
        apart = ("bench/", "cli/demo")
    sources = [*MODULES.values(), *native_sources(), *(PACKAGE / "cc").rglob("*.def")]
    naming = {
        name
        for path in sources
        if re.search(pattern, path.read_text(encoding="utf-8"))
        and not (name := _below(path)).startswith(apart)
    }
    assert naming
    assert naming <= allowed


def _below(path: Path) -> str:
    for root in (PACKAGE, SOURCES / NAME):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    raise AssertionError(path)


def native_sources() -> list[Path]:
    folder = SOURCES / "keras_int8nmt" / "cc"
    return sorted([*folder.rglob("*.cc"), *folder.rglob("*.h")])


FLOORS = [("kernels", ("decoder", "core")), ("decoder", ("core",)), ("core", ())]


@pytest.mark.parametrize(("floor", "above"), FLOORS)
def test_floors_below_the_ops_know_nothing_of_tensorflow_nor_of_what_is_above(floor, above):
    root = SOURCES / "keras_int8nmt" / "cc"
    sources = [p for p in native_sources() if p.relative_to(root).parts[0] == floor]
    names = {p.name for p in native_sources() if p.relative_to(root).parts[0] in (*above, "ops")}
    assert sources
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert '"tf_' not in text, path
        included = re.findall(r'#include [<"]([^>"]+)[>"]', text)
        assert not [name for name in included if "tensorflow" in name], path
        assert not {name.rpartition("/")[2] for name in included} & names, path


def test_the_map_has_the_rooms_in_their_order():
    text = (SOURCES / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Rooms, from the ground up")[2].partition("## ")[0]
    found = []
    for line in table.splitlines():
        if line.startswith("| `"):
            _, names, _, side, _ = line.split("|")
            found += [(name, side.strip() == "run") for name in re.findall(r"`(\w+)`", names)]
    assert found == [
        (room.name, room.run_side) for row in ROOMS for room in row if "." not in room.name
    ]


def test_no_module_hides_a_name_that_its_packages_face_exports():
    """Importing a submodule sets its name on the package, over the function of that name."""
    hidden = []
    for module, path in MODULES.items():
        if path.name != "__init__.py" or "lazy_face(" not in path.read_text(encoding="utf-8"):
            continue
        face = importlib.import_module(f"{NAME}.{module}".rstrip("."))
        inside = {
            other.rpartition(".")[2] for other in MODULES if other.rpartition(".")[0] == module
        }
        hidden += [f"{module}.{name}" for name in sorted(set(face.__all__) & (inside - {""}))]
    assert not hidden
