"""The import graph of the package: every `import` statement counts, in functions and under TYPE_CHECKING too.

Modules named in strings are not followed: `narrows/__init__.py` and `parts._BUILTIN`, the list of modules with parts.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import narrows

ROOT = Path(narrows.__file__).parent
LAYERS = [  # each imports those above only
    {"errors"},
    {"records", "parts", "plugins", "extras", "lazy"},
    {"media"},
    {"report"},
    {"bitstream"},
    {"codecs"},
    {"tokenizers"},
    {"checkpoints"},
    {"datasets"},
    {"recipes"},
    {"evaluation"},
    {"cli"},
]
LAYER_OF = {name: index for index, names in enumerate(LAYERS) for name in names}
FACE = "narrows"  # `narrows/__init__.py` offers names of all layers


def module_name(path: Path) -> str:
    names = ("narrows", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(name: str, path: Path) -> set[str]:
    """Modules of this package that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in FILES else node.module or "")
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {module for module in found if module in FILES} - {name}


GRAPH = {name: imports_of(name, path) for name, path in FILES.items()}


def layer(module: str) -> int:
    return LAYER_OF[module.split(".")[1]]


def test_every_package_has_a_layer() -> None:
    assert {module.split(".")[1] for module in GRAPH if module != FACE} == set(LAYER_OF)


def test_no_module_imports_a_higher_layer() -> None:
    upward = [
        f"{module} imports {imported}"
        for module, imports in GRAPH.items()
        for imported in imports
        if FACE not in (module, imported) and layer(imported) > layer(module)
    ]
    assert upward == []


def test_modules_import_each_other_without_cycles() -> None:
    assert sum(map(len, GRAPH.values())) > 500
    TopologicalSorter({name: imports - {FACE} for name, imports in GRAPH.items() if name != FACE}).prepare()


def test_modules_import_what_they_need_and_not_the_public_names() -> None:
    """`import narrows` would reach every layer."""
    assert [module for module, imports in GRAPH.items() if FACE in imports] == []


def isinstance_of_media() -> list[str]:
    """`isinstance(x, Audio)` and the like: code that does different things for each medium."""
    media = {"Audio", "Image", "AudioExtent", "ImageExtent", "VideoExtent", "AudioTokenizer", "ImageTokenizer"}
    media |= {"AudioReader", "ImageReader", "AudioInfo", "ImageInfo"}
    table = {"narrows.media.table", "narrows.tokenizers.audio", "narrows.tokenizers.image"}
    found = []
    for name, path in FILES.items():
        if name in table:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                classes = {getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(node.args[1])}
                if classes & media:
                    found.append(f"{name}:{node.lineno}")
    return found


def test_media_differ_in_the_table_and_in_tokenizers_only() -> None:
    """At most 3: media write signals of their own kind."""
    assert len(isinstance_of_media()) <= 3, isinstance_of_media()
