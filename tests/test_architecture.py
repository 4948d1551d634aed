"""The folders import downhill, as docs/explanation/architecture.md lists them, and each says what is in it."""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "w2s_jax"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
FOLDERS = sorted(path for path in PACKAGE.rglob("*") if path.is_dir() and list(path.glob("*.py")))
UPWARD = {("evaluation/results.py", "report")}  # only when called: `Results.plot()`


class Import(NamedTuple):
    """One imported name of this package, `models.config.ModelConfig`; `late` inside a function or for types only."""

    file: Path
    name: str
    late: bool


def imports(file: Path) -> Iterator[Import]:
    """Every import of a file from this package."""
    late: set[int] = set()
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            late |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        for name in _names(node):
            package, _, rest = name.partition(".")
            if package == "w2s_jax" and rest and not rest.startswith("__"):
                yield Import(file, rest, id(node) in late)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def folder_of(file: Path) -> str:
    """The folder of a file, or the module that stands beside the folders."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def floors() -> list[list[str]]:
    """The folders of docs/explanation/architecture.md, from the top row to the bottom one."""
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    table = page.partition("## Folders")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [re.findall(r"`(\w+)`", row) for row in rows]


def test_the_page_lists_every_folder() -> None:
    listed = [name for floor in floors() for name in floor]
    assert sorted(listed) == sorted({folder_of(file) for file in MODULES} - {"__init__"})


def test_imports_run_downhill() -> None:
    floor = {name: number for number, names in enumerate(floors()) for name in names}
    for file in MODULES:
        here = folder_of(file)
        if here == "__init__":
            continue
        for found in imports(file):
            there = found.name.partition(".")[0]
            if there == here or there not in floor:
                continue
            relative = file.relative_to(PACKAGE).as_posix()
            allowed = found.late and (relative, there) in UPWARD
            assert floor[there] > floor[here] or allowed, f"{relative} imports {found.name}"


def test_no_module_imports_itself_through_others() -> None:
    names = {_module(file): file for file in MODULES}
    edges = {
        name: {_target(found.name, names) for found in imports(file) if not found.late} - {name}
        for name, file in names.items()
    }
    done: set[str] = set()

    def walk(name: str, path: Sequence[str]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in edges.get(name, ()):
                walk(target, [*path, name])
            done.add(name)

    for name in edges:
        walk(name, [])


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _target(name: str, known: dict[str, Path]) -> str:
    """The module that an imported name belongs to."""
    while name not in known:
        name = name.rpartition(".")[0]
    return name


def test_losses_stand_on_jax_and_optax_alone() -> None:
    allowed = {*sys.stdlib_module_names, "jax", "optax", "jaxtyping"}
    for file in (PACKAGE / "losses").glob("*.py"):
        found = {name for node in ast.walk(ast.parse(file.read_text())) for name in _names(node)}
        assert {name.partition(".")[0] for name in found} <= allowed | {"w2s_jax"}
        assert {each.name.partition(".")[0] for each in imports(file)} <= {"losses", "runtime"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_every_folder_says_what_is_in_it(folder: Path) -> None:
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))


def test_every_module_says_what_it_is() -> None:
    assert [file for file in MODULES if not ast.get_docstring(ast.parse(file.read_text()))] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in re.findall(r"`([\w/]+/[\w/]*\.py)`", page.read_text()):
        assert any((root / name).exists() for root in (ROOT, PACKAGE)) or name.startswith("supervisors/X"), name
