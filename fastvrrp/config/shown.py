"""Which test shows which keyword: what the markers `@pytest.mark.keywords("BLOCK/KEYWORD")` say.

The tests are read as text, their syntax trees, and never imported: whoever makes the page of
keywords needs nothing that they need. A marker stands on a function or a class, among the
parameters of one, or for a whole module (`pytestmark`). Words that are computed are not seen.
"BLOCK/ONE OTHER" is short for "BLOCK/ONE" and "BLOCK/OTHER".
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath

from fastvrrp.config.keywords import Keyword
from fastvrrp.config.table import Path

SEPARATOR = "/"


def markers(tests: FilePath) -> dict[str, list[str]]:
    """The tests that carry each word, as FILE::TEST, in the order of the files. Raises SyntaxError
    for a file that is no Python."""
    found: dict[str, list[str]] = {}
    for file in sorted(tests.rglob("test_*.py")):
        module = ast.parse(file.read_text(), str(file))
        constants = {
            target.id: node.value
            for node in module.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        name = str(file.relative_to(tests).with_suffix(""))
        for owner, words in _marked(module, constants):
            block, slash, keywords = words.rpartition(SEPARATOR)
            for keyword in keywords.split():
                found.setdefault(f"{block}{slash}{keyword}", []).append("::".join((name, *owner)))
    return {word: list(dict.fromkeys(owners)) for word, owners in found.items()}


def _marked(
    module: ast.Module, constants: Mapping[str, ast.expr]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """(names of the class and the function, word)."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from _of_definition(node, (), constants)
        else:
            for word in _words(node, constants):
                yield (), word


def _of_definition(
    node: ast.FunctionDef | ast.ClassDef,
    outer: tuple[str, ...],
    constants: Mapping[str, ast.expr],
) -> Iterator[tuple[tuple[str, ...], str]]:
    owner = (*outer, node.name)
    for decorator in node.decorator_list:
        for word in _words(decorator, constants):
            yield owner, word
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef):
                yield from _of_definition(inner, owner, constants)


def _words(node: ast.AST, constants: Mapping[str, ast.expr]) -> Iterator[str]:
    """The words of every marker in some code."""
    for call in ast.walk(node):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "keywords"
            and isinstance(call.func.value, ast.Attribute)
            and call.func.value.attr == "mark"
        ):
            for argument in call.args:
                yield from _strings(argument, constants)


def _strings(node: ast.expr, constants: Mapping[str, ast.expr]) -> Iterator[str]:
    """What is written of an argument: itself, or what a name of the module stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Starred):
        yield from _strings(node.value, constants)
    elif isinstance(node, ast.Tuple | ast.List):
        for each in node.elts:
            yield from _strings(each, constants)
    elif isinstance(node, ast.Name) and node.id in constants:
        yield from _strings(constants[node.id], {})


AT_TOP = "At the top"
"""Instead of a block: the keyword stands in none."""


def paths_of(word: str, rows: Iterable[tuple[Path, Keyword]]) -> list[Path]:
    """The rows that a marker's word names: those whose path ends with it. An option of the lines of
    a block is no row, but named after the block's."""
    names = tuple(word.removeprefix(AT_TOP + SEPARATOR).split(SEPARATOR))
    known = list(rows)
    if any(path == names for path, _ in known):
        return [names]
    found = [path for path, _ in known if path[-len(names) :] == names]
    if found:
        return found
    return [
        (*path, names[-1])
        for path, keyword in known
        if keyword.items is not None
        and path[-len(names) + 1 :] == names[:-1]
        and names[-1] in _words_of_shape(keyword.items.shape)
    ]


def _words_of_shape(shape: str) -> set[str]:
    return set(shape.replace("[", " ").replace("]", " ").replace("|", " ").split())
