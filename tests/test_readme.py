"""The commands, the table of models and the layout of README.md agree with the package."""

import io
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import narrows
from narrows.cli import main
from narrows.media import video

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [
    shlex.split(line, comments=True)[1:] for block in BLOCKS for line in block.splitlines() if line.startswith("codec ")
]
APPENDED = {  # to the commands of a kind, so that they take seconds
    "train": ["--print_config"],  # checks all settings; --smoke has a test of its own
    "rebottleneck": ["--print_config"],
    "evaluate": ["--limit", "1", "--jobs", "1", "--no-speed", "--samples", "0", "--metrics"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the files that the commands name."""
    path = tmp_path_factory.mktemp("readme")
    training = (README.parent / "docs" / "training.md").read_text(encoding="utf-8")
    (path / "my_recipe.py").write_text(training.split("```python\n")[1].split("```")[0])
    x = 0.1 * np.random.default_rng(0).standard_normal(8000)
    (path / "recordings").mkdir()
    soundfile.write(path / "recordings" / "talk.wav", x, 16_000)
    soundfile.write(path / "music.flac", x.reshape(-1, 2), 44_100)
    pixels = np.kron(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    (path / "photos").mkdir()
    Image.fromarray(pixels).save(path / "photo.png")
    shutil.copy(path / "photo.png", path / "photos" / "photo.png")
    frames = [np.roll(np.kron(pixels, np.ones((2, 2, 1), np.uint8)), t, 1).transpose(2, 0, 1) for t in range(60)]
    samples = np.float32(x[None, :4000])
    video.write(path / "clip.mp4", frames, 25, sound=video.Sound([samples], sample_rate=16_000, channels=1))
    (path / "clips").mkdir()
    video.write(path / "clips" / "a.mp4", frames[:5], 25)
    return path


def codec(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> str:
    """What the command prints; it must end with exit code 0."""
    out, err = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["codec", *words])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code, f"codec {shlex.join(words)}\n{out.getvalue()}\n{err.getvalue()}"
    return out.getvalue()


@pytest.mark.slow
def test_the_commands_run_in_order(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for words in COMMANDS:
        if "--smoke" in words:
            continue
        added = [] if "--compare" in words else APPENDED.get(words[0], [])
        if "--metrics" in added:
            added = [*added, "psnr" if {"photos/", "clips/"} & {*words} else "snr"]
        out = codec(monkeypatch, [*words, *added])
        assert words[0] not in ("train", "rebottleneck") or "schedule:" in out
    for name in (
        "coded/talk.nrw",
        "photo-decoded.png",
        "talk.wav",
        "clip-decoded.mp4",
        "report/index.html",
        "report-images/index.html",
    ):
        assert (folder / name).exists(), name


def test_every_command_of_codec_is_named() -> None:
    for name in (
        "encode",
        "decode",
        "info",
        "models",
        "parts",
        "tokenize",
        "detokenize",
        "evaluate",
        "train",
        "rebottleneck",
    ):
        assert name in [words[0] for words in COMMANDS]


def test_every_shipped_model_is_in_the_table() -> None:
    for model in narrows.models():
        assert f"| `{model.name}` |" in TEXT


def test_every_extra_is_in_the_table() -> None:
    extras = re.search(
        r"\[project.optional-dependencies\]\n(.*?)\n\n", (README.parent / "pyproject.toml").read_text(), re.S
    )
    assert extras is not None
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT.split("## Command line")[0], re.M)) == set(
        re.findall(r"^(\w+) =", extras[1], re.M)
    )


def test_the_layout_is_that_of_the_package() -> None:
    layout = re.search(r"## Layout\n\n(.*?)\n\n", TEXT, re.DOTALL)
    assert layout is not None
    named = {line.split()[0].rstrip("/") for line in layout[1].splitlines()[1:] if line.startswith("      ")}
    package = README.parent / "narrows"
    folders = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    assert named == folders | modules
