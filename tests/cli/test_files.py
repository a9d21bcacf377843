import io
import os

import pytest

from narrows.bitstream import read_header
from narrows.cli import progress


@pytest.fixture
def encode(codec, model):
    return lambda *arguments, **options: codec("encode", "-m", model, *arguments, **options)


@pytest.fixture
def results(place):
    return lambda: sorted(str(path.relative_to(place)) for path in place.rglob("*.nrw"))


@pytest.mark.parametrize(
    ("given", "out", "expected"),
    [
        (["one.wav"], None, ["one.nrw"]),
        (["one.wav"], "b.nrw", ["b.nrw"]),
        (["one.wav"], "b.out", ["b.out"]),
        (["one.wav"], "new", ["new/one.nrw"]),
        (["one.wav"], "new/b.nrw", ["new/b.nrw"]),
        (["one.wav"], "there.1", ["there.1/one.nrw"]),
        (["d/two.wav"], None, ["d/two.nrw"]),
        (["d/two.wav"], "new", ["new/two.nrw"]),
        (["one.wav", "d/two.wav"], "new", ["new/one.nrw", "new/two.nrw"]),
        (["one.wav", "one.wav", "./one.wav"], None, ["one.nrw"]),
        (["d"], None, ["d/deep/three.nrw", "d/two.nrw"]),
        (["d/"], "new/er", ["new/er/deep/three.nrw", "new/er/two.nrw"]),
        (["d/deep"], "new.1", ["new.1/three.nrw"]),
        (["*.wav"], None, ["[1].nrw", "one.nrw"]),
        (["d/**/*.wav"], None, ["d/deep/three.nrw", "d/two.nrw"]),
        (["d/**/*.wav"], "new", ["new/three.nrw", "new/two.nrw"]),
        (["[1].wav"], None, ["[1].nrw"]),
        (["[a-z]ne.wav", "d"], "new", ["new/deep/three.nrw", "new/one.nrw", "new/two.nrw"]),
    ],
)
def test_output_paths(encode, wav, place, given, out, expected):
    for name in ("one.wav", "[1].wav", "d/two.wav", "d/deep/three.wav"):
        wav(name, samples=1)
    (place / "d" / "notes.txt").write_text("not audio")
    (place / "there.1").mkdir()
    before = set(place.rglob("*"))
    result = encode(*given, *([] if out is None else ["-o", out]))
    assert result.code == 0, result.err
    made = sorted(str(path.relative_to(place)) for path in set(place.rglob("*")) - before if path.is_file())
    assert made == expected
    assert result.out.count(" → ") == len(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere.wav"], "there is no file 'nowhere.wav'"),
        (["no/where.wav"], "nor a folder 'no'"),
        (["one.wav/two.wav"], "'one.wav/two.wav' cannot be opened"),
        (["n" * 300 + ".wav"], "cannot be opened"),
        (["empty"], "expected files with .3g2, "),
        (["empty/*.wav", "empty"], "got none in empty/*.wav, empty"),
        (["pipe"], "'pipe', which is a pipe or a device"),
        (["loop"], "'loop' cannot be opened"),
        (["new\nline.wav"], r"there is no file 'new\nline.wav'"),
        (["-"], "there is no file '-'"),
        ([""], "got an empty name"),
        (["one.wav", "one.flac"], "got one.wav and one.flac for one.nrw"),
        (["one.wav", "."], "got one.wav and one.flac for one.nrw"),
        (["one.wav", "d/one.wav", "-o", "new"], "got one.wav and d/one.wav for new/one.nrw"),
        (["one.wav", "d/one.wav", "-o", "all.nrw"], "got the file all.nrw"),
        (["d", "-o", "all.nrw"], "got the file all.nrw"),
        (["d/one.wav", "link/one.flac"], "expected one input per output"),
        (["one.wav", "-o", "one.wav"], "the output of one.wav would replace the input one.wav"),
        (["one.wav", "-o", "one.wav", "--force"], "the output of one.wav would replace the input one.wav"),
        (["one.wav", "-o", "d/../one.wav", "--force"], "would replace the input"),
        (["one.wav", "-o", "link.wav", "--force"], "would replace the input"),
        (["a.nrw", "--force"], "the output of a.nrw would replace the input a.nrw"),
        (["one.wav", "-o", "there.nrw"], "'there.nrw', which is a folder"),
    ],
)
def test_invalid_inputs_and_outputs_are_refused(refused, model, wav, place, given, message):
    for name in ("one.wav", "one.flac", "d/one.wav", "a.nrw", "d/one.flac"):
        wav(name, samples=1)
    (place / "d" / "one.flac").unlink()
    (place / "empty").mkdir()
    (place / "there.nrw" / "one.nrw").mkdir(parents=True)
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    os.symlink("d", "link")
    os.symlink("one.wav", "link.wav")
    if message == "'there.nrw', which is a folder":
        given, message = ["one.wav", "-o", "there.nrw"], "'there.nrw/one.nrw', which is a folder"
    assert message in refused("encode", "-m", model, *given)


@pytest.mark.parametrize(
    "name",
    [
        "with  two spaces.wav",
        "Ünïcödé 音声 🎵.wav",
        "-x.wav",
        "--model.wav",
        "a'b\"c.wav",
        "two.dots.wav",
        "noextension",
    ],
)
def test_unusual_names(codec, encode, wav, results, model, place, name):
    wav(name)
    result = encode("--", name)
    assert (result.code, result.err) == (0, "")
    assert results() == [os.path.splitext(name)[0] + ".nrw"]
    assert codec("decode", "-m", model, "-o", "back.wav", "--", *results()).code == 0
    (place / name).write_text("not audio")
    line = encode("--force", "--", name).err
    assert f"got {name!r}, which cannot be decoded" in line


def test_names_that_are_not_utf_8(encode, wav, results, place):
    name = b"\xff\xfe.wav".decode(errors="surrogateescape")
    wav("a.wav").rename(place / name)
    result = encode(".")
    assert result.code == 0
    assert result.out.startswith(r"\udcff\udcfe.wav → \udcff\udcfe.nrw")
    assert results() == [b"\xff\xfe.nrw".decode(errors="surrogateescape")]


def test_a_terminal_without_arrows(encode, wav):
    wav()
    result = encode("a.wav", out=io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert (result.code, result.out[:15]) == (0, r"a.wav \u2192 a.")


def test_files_that_fail_are_named_and_the_others_encoded(encode, wav, place, results):
    for name in ("a.wav", "sub/b.wav", "sub/z.wav", "there.wav"):
        wav(f"in/{name}")
    (place / "in" / "broken.wav").write_text("not audio")
    (place / "in" / "sub" / "empty.mp3").touch()
    (place / "in" / "there.nrw").write_text("mine")
    result = encode("in")
    assert result.code == 2
    assert [line.split(" → ")[0] for line in result.out.splitlines()] == ["in/a.wav", "in/sub/b.wav", "in/sub/z.wav"]
    assert results() == ["in/a.nrw", "in/sub/b.nrw", "in/sub/z.nrw", "in/there.nrw"]
    assert (place / "in" / "there.nrw").read_text() == "mine"
    *lines, last = result.err.splitlines()
    assert all(line.startswith("codec: ") for line in lines)
    for name, line in zip(("in/broken.wav", "in/sub/empty.mp3", "in/there.wav"), lines, strict=True):
        assert repr(name) in line
    assert last == (
        "codec: 3 of 6 files done; 2 failed: 'in/broken.wav', 'in/sub/empty.mp3'; "
        "1 not done for an existing output (--skip-existing): 'in/there.wav'"
    )


def test_damaged_streams_among_others_are_named(codec, model, stream, place):
    for name in ("a", "b", "c"):
        stream(f"{name}.nrw")
    (place / "b.nrw").write_bytes((place / "b.nrw").read_bytes()[:-1])
    result = codec("decode", ".", "-m", model, "-o", "out")
    assert result.code == 2
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a.wav", "c.wav"]
    assert result.err.startswith("codec: 'b.nrw': ")
    assert result.err.endswith("codec: 2 of 3 files done; 1 failed: 'b.nrw'\n")


def test_no_empty_folder_is_left(refused, model, place):
    (place / "a.wav").write_text("not audio")
    refused("encode", "a.wav", "-m", model, "-o", "new/er/est")
    refused("encode", "a.wav", "-m", model, "-o", "new/a.nrw")


def test_the_progress_bar_does_not_mix_with_results(encode, wav, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "INTERVAL", 0.001)

    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    wav("a.wav")
    wav("b.wav")
    result = encode("a.wav", "b.wav", err=Terminal(io.BytesIO(), "utf-8"))
    assert "files" in result.err
    assert "→" not in result.err
    assert [line.split(" → ")[0] for line in result.out.splitlines()] == ["a.wav", "b.wav"]


def test_a_symbolic_link_is_followed(encode, wav, place):
    wav("real.wav")
    os.symlink("real.wav", "a.wav")
    (place / "else").mkdir()
    (place / "else" / "kept.nrw").write_text("old")
    os.symlink("else/kept.nrw", "a.nrw")
    assert encode("a.wav").code == 2
    assert encode("a.wav", "--force").code == 0
    assert (place / "a.nrw").is_symlink()
    assert read_header((place / "else" / "kept.nrw").read_bytes()).model == "tiny"


def test_suffixes_are_kept_on_request(codec, encode, wav, place, model):
    """Files of one stem are encoded side by side, and decoded to the names and formats they came from."""
    for name in ("one.wav", "one.flac", "d/one.wav"):
        wav(name, samples=100)
    assert encode(".", "-o", "new", "--keep-suffix").code == 0
    kept = ["d/one.wav.nrw", "one.flac.nrw", "one.wav.nrw"]
    assert sorted(str(path.relative_to(place / "new")) for path in place.glob("new/**/*.nrw")) == kept
    assert codec("decode", "-m", model, "new", "-o", "back", "--keep-suffix").code == 0
    decoded = sorted(str(path.relative_to(place / "back")) for path in place.glob("back/**/*.*"))
    assert decoded == ["d/one.wav", "one.flac", "one.wav"]
    assert (place / "back/one.flac").read_bytes()[:4] == b"fLaC"
    both = codec("decode", "-m", model, "new", "-o", "again", "--keep-suffix", "--format", "mp3")
    assert (both.code, both.err) == (2, "codec: expected --keep-suffix or --format, got both; leave one out\n")


def test_lines_of_output_stay_lines(encode, wav, place):
    wav("new\nline\x1b[2J.wav", samples=100)
    result = encode("new\nline\x1b[2J.wav")
    assert result.code == 0
    assert result.out.count("\n") == 1
    assert r"new\nline\x1b[2J.wav → new\nline\x1b[2J.nrw" in result.out


def test_standard_output_is_refused(refused, model, wav, place):
    wav("one.wav", samples=100)
    for command in ("encode", "decode"):
        assert "standard output cannot be written" in refused(command, "-m", model, "one.wav", "-o", "-")
    assert not (place / "-").exists()
