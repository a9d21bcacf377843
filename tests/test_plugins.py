import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import narrows
from narrows import plugins
from narrows.errors import InputError

BOTTLENECK = '''
import narrows
from narrows.codecs import Bottleneck, Quantized


@narrows.part("{name}")
class Sign(Bottleneck):
    """The signs of all channels."""

    def __init__(self, dim: int = 4) -> None:
        super().__init__()
        self.dim, self.codebook_sizes, self.prefixes = dim, (2,) * dim, (dim,)

    def forward(self, z):
        return Quantized(self.decode(self.encode(z)))

    def encode(self, z):
        return (z > 0).long()

    def decode(self, codes):
        return codes.float() * 2 - 1
'''
METRIC = """
from narrows.evaluation.base import Metric

ERROR = Metric("{name}", "audio", "", "lower", "Error.", lambda x, y: float(abs(x.array - y.array).mean()))
"""
ANNOUNCED = """
[narrows.parts]
installed-sign = installed_parts
[narrows.metrics]
installed-error = installed_metrics:ERROR
[narrows.recipes]
installed-recipe = installed_recipes:recipe
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder; parts that are registered there are unknown afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(narrows.parts, "_PARTS", dict(narrows.parts._PARTS))
    monkeypatch.setenv(plugins.VARIABLE, "")
    return tmp_path


@pytest.fixture
def installed(folder, monkeypatch) -> Path:
    """A folder with an installed package that announces a part, a metric and a recipe."""
    info = folder / "site" / "installed-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ANNOUNCED)
    (info.parent / "installed_parts.py").write_text(BOTTLENECK.format(name="installed-sign"))
    (info.parent / "installed_metrics.py").write_text(METRIC.format(name="installed-error"))
    (info.parent / "installed_recipes.py").write_text("raise ValueError('not\\nnow')\n")
    return info.parent


def python(code: str, *paths: Path) -> str:
    """What a new process prints."""
    path = os.pathsep.join([*map(str, paths), str(Path(narrows.__file__).parents[1])])
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout


def test_a_file_is_imported_once_and_finds_its_neighbours(folder) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "neighbour_of_one.py").write_text("VALUE = 7\n")
    (folder / "code" / "one_file.py").write_text("from neighbour_of_one import VALUE\n")
    module = plugins.import_target("code/one_file.py")
    assert (module.VALUE, module.__name__) == (7, "one_file")
    assert plugins.import_target(str(folder / "code" / ".." / "code" / "one_file.py")) is module
    assert plugins.import_target("one_file") is module


def test_a_file_with_the_name_of_another_module_hides_none(folder) -> None:
    import json

    loaded = "colorsys" in sys.modules
    (folder / "json.py").write_text("VALUE = 7\n")
    (folder / "colorsys.py").write_text("VALUE = 8\n")
    module = plugins.import_target("json.py")
    assert (module.VALUE, plugins.import_target("json.py")) == (7, module)
    assert sys.modules["json"] is json
    assert plugins.import_target("colorsys.py").VALUE == 8
    assert ("colorsys" in sys.modules) == loaded


def test_files_with_odd_names(folder) -> None:
    for name in ("parts.v2.py", "my-parts.py", "2.py", "with space.py"):
        (folder / name).write_text(f"NAME = {name!r}\n")
        assert name == plugins.import_target(name).NAME


def test_a_file_in_a_package_is_a_module_of_it(folder) -> None:
    (folder / "own_package" / "inner").mkdir(parents=True)
    for name in ("own_package/__init__.py", "own_package/inner/__init__.py"):
        (folder / name).write_text("")
    (folder / "own_package" / "values.py").write_text("VALUE = 7\n")
    (folder / "own_package" / "inner" / "user.py").write_text("from ..values import VALUE\n")
    module = plugins.import_target("own_package/inner/user.py")
    assert module.VALUE == 7
    assert plugins.import_target("own_package.inner.user") is module


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\nx = = 2\n", r"cannot import own\.py \(line 2: invalid syntax\)"),
        (
            "def f():\n    raise OSError('two\\nlines')\nf()\n",
            r"cannot import own\.py \(own\.py, line 2: OSError: two lin",
        ),
        ("import sys\nsys.exit(0)\n", r"own\.py, line 2: SystemExit: 0"),
        ("x = 1\0\n", "null bytes"),
        ("import no_such_module\n", r"\(own\.py, line 1: ModuleNotFoundError: No module named 'no_such_module'\)"),
        ("import json\njson.loads('{')\n", r"\(own\.py, line 2: JSONDecodeError: Expecting property name"),
        ("import narrows.codecs\nnarrows.part('fsq')(dict)\n", r"cannot import own\.py \(expected an unused part name"),
    ],
)
def test_a_file_that_fails_is_one_line(folder, text, reason) -> None:
    (folder / "own.py").write_text(text)
    for _ in range(2):
        with pytest.raises(InputError, match=reason) as caught:
            plugins.import_target("own.py")
        assert "\n" not in str(caught.value)
    assert "own" not in sys.modules


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("none.py", "there is no file"),
        ("no_such.module", r"cannot import no_such.module \(ModuleNotFoundError: No module named 'no_such'\)"),
        ("a-b", "expected a module such as package.module or a file.py, got 'a-b'"),
        ("", "expected a module"),
        (".", "expected a module"),
    ],
)
def test_what_is_not_there_is_named(folder, target, reason) -> None:
    with pytest.raises(InputError, match=reason):
        plugins.import_target(target)


def test_worker_processes_import_the_same(folder) -> None:
    (folder / "own_parts.py").write_text(BOTTLENECK.format(name="sign-in-workers"))
    plugins.import_for_workers(["own_parts.py"])
    plugins.import_for_workers(["own_parts.py", "string"])
    assert os.environ[plugins.VARIABLE] == os.pathsep.join([str(folder / "own_parts.py"), "string"])
    assert narrows.build({"part": "sign-in-workers", "dim": 3}).codebook_sizes == (2, 2, 2)
    code = "import narrows; print(narrows.build({'part': 'sign-in-workers'}).dim, narrows.parts.names('bottleneck'))"
    told = python(code)
    assert told.startswith("4 ")
    assert "'sign-in-workers'" in told


def test_installed_packages_announce_parts_metrics_and_recipes(installed) -> None:
    code = """
import narrows, sys
from narrows import parts, plugins
from narrows.evaluation.metrics import metric, metrics
narrows.build({"part": "fsq"})
assert not [name for name in sys.modules if name.startswith("installed")]
print(plugins.announced("narrows.recipes"), narrows.build({"part": "installed-sign"}).dim)
assert "installed_metrics" not in sys.modules
print(metric("installed-error").name, "installed-error" in metrics(), "installed-sign" in parts.names("bottleneck"))
try:
    plugins.load("narrows.recipes", "installed-recipe")
except narrows.NarrowsError as error:
    print(error)
"""
    assert python(code, installed).splitlines() == [
        "['installed-recipe'] 4",
        "installed-error True True",
        "cannot import installed_recipes:recipe, which installed announces (installed_recipes.py, line 1: ValueError: "
        "not now); correct it, or leave it out",
    ]


def test_what_an_installed_package_announces_must_be_there(installed) -> None:
    (installed / "installed_metrics.py").write_text(METRIC.format(name="another"))
    (installed / "installed_parts.py").write_text("")
    code = """
import narrows
from narrows.evaluation.metrics import metric
for ask in (lambda: metric("installed-error"), lambda: narrows.build({"part": "installed-sign"})):
    try:
        ask()
    except narrows.NarrowsError as error:
        print(error)
"""
    first, second = python(code, installed).splitlines()
    assert first.startswith("expected a metric named 'installed-error' from an installed package, got Metric(name='ano")
    assert second.startswith("expected a registered part, got 'installed-sign'")
    assert "import the module that registers it (codec --import MODULE)" in second


def test_a_broken_package_is_left_out_of_listings(installed) -> None:
    (installed / "installed_metrics.py").write_text("1 / 0")
    code = """
import warnings
import narrows
from narrows import parts
from narrows.evaluation.metrics import metrics
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    print("psnr" in metrics(), "installed-error" in metrics(), "installed-sign" in parts.names())
print(seen[0].category.__name__, seen[0].message)
"""
    first, second = python(code, installed).splitlines()
    assert first == "True False True"
    assert second.startswith(
        "PluginWarning left out installed-error: cannot import installed_metrics:ERROR, which inst"
    )


def test_the_groups_are_those_of_the_documentation() -> None:
    assert set(re.findall(r'entry-points\."(.*?)"', plugins.__doc__)) == set(plugins.Group.__args__)
    for group in plugins.Group.__args__:
        assert plugins.announced(group) == sorted(entry.name for entry in importlib.metadata.entry_points(group=group))
