"""The optional packages, by the extra of narrows that installs them: pip install 'narrows[EXTRA]'."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from narrows.errors import InputError

EXTRAS = {  # import names
    "datasets": ("pyarrow",),
    "train": ("lightning", "torchaudio", "jsonargparse", "pyarrow"),
    "evaluate": ("pyarrow", "matplotlib", "torchaudio"),
    "ray": ("ray",),
    "speech": ("pesq", "pystoi"),
    "visqol": ("visqol",),
    "quality": ("onnxruntime", "speechmos", "distillmos", "resemblyzer"),
    "lyra": ("ai_edge_litert",),
    "perceptual": ("lpips", "torch_fidelity"),
    "heic": ("pillow_heif",),
    "semantic": ("transformers",),
}


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the ImportError of a missing package of this extra into an InputError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS[extra]:
            raise
        raise InputError(f"expected the package {package}, got none; pip install 'narrows[{extra}]'") from error


def require_package(package: str) -> None:
    """Raise InputError, which says how to install it, unless a package of an extra can be imported."""
    try:
        import_module(package)
    except ImportError as error:
        raise InputError(
            f"expected the package {package}, which cannot be imported ({error}); "
            f"pip install 'narrows[{extra_of(package)}]'"
        ) from error


def extra_of(package: str) -> str:
    """The extra that installs a package with this import name."""
    return next(extra for extra, packages in EXTRAS.items() if package in packages)
