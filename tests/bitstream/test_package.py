import ast
import sys
from pathlib import Path

import narrows.bitstream as package


def test_names():
    assert sorted(package.__all__) == package.__all__
    assert set(package.__all__) <= set(dir(package))


def test_imports_nothing_heavy():
    allowed = {"numpy", "constriction", "narrows.errors", "narrows.bitstream"} | sys.stdlib_module_names
    for path in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                assert {name, name.split(".")[0], ".".join(name.split(".")[:2])} & allowed, f"{path.name}: {name}"
