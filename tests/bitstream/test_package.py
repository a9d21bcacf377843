import ast
import subprocess
import sys
from pathlib import Path

import narrows.bitstream as package


def test_names():
    assert sorted(package.__all__) == package.__all__
    assert set(package.__all__) <= set(dir(package))


def test_imports_nothing_heavy():
    allowed = {
        "numpy",
        "constriction",
        "narrows.errors",
        "narrows.bitstream",
        "narrows.media.buffers",
        "narrows.media.extents",
    }
    folder = Path(package.__file__).parent
    for path in [*folder.glob("*.py"), folder.parent / "media" / "extents.py"]:
        for name in imported(path):
            parents = {name, name.split(".")[0], ".".join(name.split(".")[:2])}
            assert parents & (allowed | sys.stdlib_module_names), f"{path.name}: {name}"


def test_importing_it_loads_no_codec_and_no_media_library():
    code = (
        "import sys, narrows.bitstream; print(sorted({'torch', 'av', 'PIL', 'soundfile', 'soxr'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("[]\n", "")


def imported(path):
    """The names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
