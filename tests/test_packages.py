"""The public names of narrows.media, narrows.tokenizers and narrows.checkpoints."""

import pydoc
import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = ["narrows.media", "narrows.tokenizers", "narrows.checkpoints"]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_is_there_and_in_the_help(name: str) -> None:
    package = import_module(name)
    assert package.__doc__
    shown = pydoc.plain(pydoc.render_doc(package))
    for public in package.__all__:
        assert getattr(package, public) is not None
        assert public in shown
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'; it has "):
        package.nothing  # noqa: B018


@pytest.mark.parametrize("name", PACKAGES)
def test_each_name_is_imported_on_its_own(name: str) -> None:
    """In a process where nothing else of the package was imported: no circular imports."""
    code = f"import sys, {name} as package; assert 'torch' not in sys.modules; assert 'soundfile' not in sys.modules\n"
    for public in import_module(name).__all__:
        subprocess.run([sys.executable, "-c", f"{code}assert package.{public}"], check=True)


def test_names_are_the_same_objects_in_any_order() -> None:
    code = "import narrows.media.audio, narrows.media as media; assert media.Audio is narrows.media.audio.Audio\n"
    code += "from narrows.media import audio; assert audio is narrows.media.audio"
    subprocess.run([sys.executable, "-c", code], check=True)
