import sys
from types import ModuleType

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Random numbers of a test do not depend on the tests before it: one near tie in many thousand codes may differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def randomise(seeded):
    """randomise(module, seed) sets all parameters to random values that keep signals at their scale."""

    def ran(module, seed=0):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                drawn = torch.randn(parameter.shape, generator=generator)
                if name.endswith((".alpha", ".beta")):
                    parameter.copy_(1 + 0.2 * drawn)
                elif name.endswith(("_g", "original0")):  # lengths of weight norm
                    parameter.copy_(0.5 + 0.1 * drawn)
                elif parameter.ndim > 1:
                    parameter.copy_(0.5 * drawn / parameter[0].numel() ** 0.5)
                else:
                    parameter.copy_(0.1 * drawn + (1 if "norm" in name and name.endswith("weight") else 0))
        return module.eval()

    return ran


@pytest.fixture
def stub(monkeypatch):
    """stub(name) makes modules that a reference implementation imports, and does not need, empty."""

    class Anything:
        def __init__(self, *args, **kwargs):
            pass

        def __call__(self, *args, **kwargs):
            return args[0] if args else self

        def __getattr__(self, name):
            return Anything()

    class Stub(ModuleType):
        __path__ = ()

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Anything

    def made(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, Stub(name))
            if "." in name:
                parent, _, child = name.rpartition(".")
                setattr(sys.modules[parent], child, sys.modules[name])

    return made


@pytest.fixture
def check_full_size():
    """check_full_size(name, source): a release has exactly the tensors of a source of full size, and its stated facts.

    Args:
        name: of the release.
        source: with tensors on the meta device, as the reference implementation names them.
    """
    from narrows.checkpoints.assemble import expected_shapes
    from narrows.checkpoints.facts import facts_of
    from narrows.checkpoints.families.read import family_of
    from narrows.checkpoints.families.releases import find_release

    def checked(name, source):
        family, release = family_of(source), find_release(name)
        assert release is not None
        assert release.family == family.name
        made = []

        def make():
            made.append(family.tokenizer(source))
            return made[-1]

        expected, _ = expected_shapes(make, len(source.tensors))
        with torch.device("meta"):
            weights = family.weights(source)
        assert {key: tuple(tensor.shape) for key, tensor in weights.items()} == expected
        assert made[0].name == name
        assert facts_of(made[0]) == release.facts

    return checked


@pytest.fixture
def check_commands(tmp_path, monkeypatch):
    """check_commands(model, train): the commands take a model as they take any other.

    Args:
        model: path of a small public checkpoint.
        train: whether training takes it, too, which takes half a minute.
    """
    import numpy as np
    import soundfile

    from narrows.cli import main

    def codec(*arguments):
        monkeypatch.setattr(sys, "argv", ["codec", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (0, None), arguments

    def checked(model, train=False):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sound").mkdir()
        for index, samples in enumerate((12_345, 30_000)):
            time = np.arange(samples) / 16_000
            soundfile.write(f"sound/{index}.wav", 0.2 * np.sin(900 * (1 + time) * time), 16_000)
        codec("info", model)
        codec("convert", model, "converted")
        for place in (model, "converted"):
            codec("encode", "sound/0.wav", "-m", place, "-o", f"{len(str(place))}.nrw")
        first, second = (tmp_path / f"{len(str(place))}.nrw" for place in (model, "converted"))
        assert len(first.read_bytes()) == len(second.read_bytes()) > 0
        codec("decode", first, "-m", "converted", "-o", "decoded.wav")
        decoded, rate = soundfile.read("decoded.wav")
        assert (len(decoded), rate) == (12_345, 16_000)
        codec("fit-tables", "converted", "--data", "sound")
        codec("encode", "sound/0.wav", "-m", "converted", "-o", "coded.nrw")
        codec("decode", "coded.nrw", "-m", "converted", "-o", "coded.wav")
        assert np.array_equal(soundfile.read("coded.wav")[0], decoded)
        codec("tokenize", "sound", "-m", "converted", "--out", "tokens")
        if train:
            codec("evaluate", "--data", "sound", "-m", "converted", "-o", "report", "--samples", 0)
            small = ("--adversarial.width", 2, "--smoke")
            codec("train", "finetune", "--init", "converted", "-o", "run", *small)
            codec("encode", "sound/0.wav", "-m", "run/checkpoint", "-o", "run.nrw")
            codec("rebottleneck", "converted", "--structure", "ordered", "--data", "sound", "-o", "inner", "--smoke")
            codec("encode", "sound/0.wav", "-m", "inner/checkpoint", "-o", "inner.nrw")

    return checked
