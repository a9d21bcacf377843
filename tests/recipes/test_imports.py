import ast
from graphlib import TopologicalSorter
from pathlib import Path

import narrows.recipes

ROOT = Path(narrows.recipes.__file__).parent


def test_modules_of_recipes_import_each_other_without_cycles() -> None:
    """Imports in functions and under TYPE_CHECKING count too."""
    files = {
        ".".join(("narrows", "recipes", *path.relative_to(ROOT).with_suffix("").parts)): path
        for path in ROOT.rglob("*.py")
    }
    graph = {
        name: {
            node.module
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module in files
        }
        for name, path in files.items()
    }
    assert any(graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError
