"""The Python snippets of README.md, docs/ and the model cards run, and their links lead to files.

The snippets of a page run in order, in one process and one namespace, in a folder that holds what `folder` below makes.
A snippet that needs a network or a GPU starts with ```python no-run.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from narrows.media import video

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS, *sorted((ROOT / "narrows" / "checkpoints").glob("*/README.md"))]
MAX_NOT_RUN = 3  # snippets of all pages together
SMALL_DAC = """
import shutil

import transformers

sizes = dict(encoder_hidden_size=4, decoder_hidden_size=32, n_codebooks=2, codebook_size=64, sampling_rate=44_100)
strides = dict(downsampling_ratios=[2, 4, 8, 8], upsampling_ratios=[8, 8, 4, 2])
transformers.DacModel(transformers.DacConfig(**sizes, **strides)).save_pretrained("downloads/dac_44khz")
shutil.copyfile("talk.wav", "song.wav")
"""
BEFORE = {  # code that runs before the snippets of a page: names that it uses, settings that save time
    "evaluation.md": """
import functools
from pathlib import Path
from narrows.evaluation import evaluate as module

module.evaluate = functools.partial(module.evaluate, speed=False, samples=0)
folder, out = Path("photos"), Path("report")
""",
    "public_models.md": SMALL_DAC,
}
AFTER = {  # checks after the snippets of a page
    "datasets.md": """
assert (codes == data[0].codes[0].numpy().T).all()
assert next(iter(stream)).shape[0] == 12
assert (stream.num_items, stream.num_batches(8)) == (len(data), -(-len(data) // 8))
assert example.meta["text"] == "so it is" and batch.ids.shape[1] == 12 and tokens.codes.shape[1] == 12
""",
}
FENCE = re.compile(r"^```python *(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def snippets(page: Path) -> list[tuple[str, str]]:
    """(words after `python`, code) of each Python snippet of a page."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shards) -> Path:
    """A folder with a recording, images and a tokenized data set in OUT/."""
    path = tmp_path_factory.mktemp("docs")
    rng = np.random.default_rng(0)
    (path / "examples").mkdir()
    for name in ("examples/speech.wav", "talk.wav"):
        soundfile.write(path / name, 0.1 * rng.standard_normal(8000), 16_000)
    soundfile.write(path / "music.flac", 0.1 * rng.standard_normal((8000, 2)), 44_100)
    pixels = np.kron(rng.integers(0, 256, (5, 7, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    (path / "photos").mkdir()
    for name in ("photo.png", "photos/a.png", "photos/b.png"):
        Image.fromarray(pixels).save(path / name)
    frames = [np.roll(np.kron(pixels, np.ones((2, 2, 1), np.uint8)), t, 1).transpose(2, 0, 1) for t in range(15)]
    sound = video.Sound([np.float32(0.1 * rng.standard_normal((1, 8000)))], sample_rate=16_000, channels=1)
    video.write(path / "clip.mp4", frames, 25, sound=sound)
    (path / "OUT").symlink_to(shards)
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """A data set of recordings with text, tokenized by the model `speech`; one has the key speaker1/take3."""
    place = tmp_path_factory.mktemp("data")
    (place / "recordings" / "speaker1").mkdir(parents=True)
    for name in ("speaker1/take3", "a"):
        x = 0.1 * np.random.default_rng(0).standard_normal(4000)
        soundfile.write(place / "recordings" / f"{name}.wav", x, 16_000)
    lines = [
        json.dumps({"audio": f"recordings/{key}.wav", "key": key, "text": "so it is"})
        for key in ("speaker1/take3", "a")
    ]
    (place / "manifest.jsonl").write_text("\n".join(lines))
    command = ["tokenize", str(place / "manifest.jsonl"), "-m", "speech", "-o", str(place / "tokens"), "--workers", "1"]
    _run("from narrows.cli import main; main()", place, *command)
    return place / "tokens"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=_name)
def test_python_snippets_run(page: Path, folder: Path) -> None:
    runnable = [code for words, code in snippets(page) if "no-run" not in words.split()]
    _run("\n".join([BEFORE.get(page.name, ""), *runnable, AFTER.get(page.name, "")]), folder)


def test_few_snippets_are_not_run() -> None:
    words = [words.split() for page in PAGES for words, _ in snippets(page)]
    assert sum("no-run" in each for each in words) <= MAX_NOT_RUN
    assert all(set(each) <= {"no-run"} for each in words)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if heading:
            lines = file.read_text(encoding="utf-8").splitlines()
            assert heading in [_anchor(line) for line in lines if line.startswith("#")], target


def test_the_readme_links_to_every_page() -> None:
    readme = PAGES[0].read_text(encoding="utf-8")
    assert [page.name for page in DOCS if f"docs/{page.name}" not in readme] == []


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def _run(code: str, folder: Path, *arguments: str) -> None:
    """Run Python code in a fresh process in a folder; its output is the message if it fails."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
