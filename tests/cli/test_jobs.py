"""Several files in several processes: the outputs, lines and errors of one process."""

import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from narrows.checkpoints.load import load
from narrows.cli.jobs import process_files
from narrows.tokenizers.audio import AudioTokenizer


def lines(text):
    """The lines in any order, without speeds."""
    return sorted(line.rsplit("  ", 1)[0] for line in text.splitlines())


def test_jobs_give_what_one_process_gives(codec, model, wav, place):
    for name in ("a.wav", "sub/b.wav", "c.wav"):
        wav(f"in/{name}", samples=900)
    (place / "in" / "d.wav").write_bytes(b"no audio")
    (place / "in" / "e.txt").write_bytes(b"text")
    one = codec("encode", "in", "-m", model, "-o", "one")
    two = codec("encode", "in", "-m", model, "-o", "two", "--jobs", 2, "--threads", 1)
    assert one.code == two.code == 2
    last = "codec: 3 of 4 files done; 1 failed: 'in/d.wav'; skipped 1 file that is no audio, image or video: .txt 1"
    assert one.err.splitlines()[-1] == two.err.splitlines()[-1] == last
    for name in ("a.nrw", "sub/b.nrw", "c.nrw"):
        assert (place / "one" / name).read_bytes() == (place / "two" / name).read_bytes()
    assert not (place / "two" / "d.nrw").exists()
    decoded = codec("decode", "two", "-m", model, "-o", "waves", "--jobs", 3)
    assert decoded.code == 0, decoded
    assert len(list((place / "waves").rglob("*.wav"))) == 3


def test_workers_print_what_this_process_prints(start, model, wav):
    wav("in/a.wav")
    wav("in/b.wav", bad=[(3, 0, float("nan"))])
    found = []
    for jobs in (1, 2):
        process = start("encode", "in", "-m", model, "-o", f"out-{jobs}", "--jobs", jobs)
        out, err = process.communicate()
        assert process.returncode == 2
        found.append(
            (
                lines(out.replace(f"out-{jobs}", "out")),
                sorted(line for line in err.splitlines() if "files 0/2" not in line),
            )
        )
    assert found[0] == found[1]
    assert "NaN" in found[1][1][0] + found[1][1][1]


def test_jobs_end_with_sigterm_and_leave_nothing(start, model, wav, place):
    wav("in/a.wav", samples=16_000 * 600)
    wav("in/b.wav", samples=16_000 * 600)
    process = start("encode", "in", "-m", model, "-o", "out", "--jobs", 2)
    for _ in range(600):
        if (place / "out").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not (place / "out").exists()


def test_finished_files_are_passed_over(codec, model, wav, place):
    for name in ("a.wav", "b.wav", "c.wav"):
        wav(f"in/{name}")
    command = ("encode", "in", "-m", model, "-o", "out")
    assert (codec(*command).code, len(list((place / "out").iterdir()))) == (0, 3)
    (place / "out" / "b.nrw").unlink()
    again = codec(*command)
    assert again.code == 2
    expected = "codec: 1 of 3 files done; 2 not done for an existing output (--skip-existing): 'in/a.wav', 'in/c.wav'"
    assert again.err.splitlines()[-1] == expected
    (place / "out" / "b.nrw").unlink()
    on = codec(*command, "--skip-existing")
    assert (on.code, on.out.count("→")) == (0, 1)
    assert on.err == "codec: 1 of 3 files done; 2 passed over for an existing output\n"
    whole = codec(*command, "--skip-existing", "--jobs", 2)
    assert (whole.code, whole.out) == (0, "")
    single = codec("encode", "in/a.wav", "-m", model, "-o", "out/a.nrw", "--skip-existing")
    assert (single.code, single.err) == (0, "codec: 1 passed over for an existing output\n")


def test_workers_end_when_the_command_is_killed(start, model, wav, place):
    for name in ("a.wav", "b.wav"):
        wav(f"in/{name}", samples=16_000 * 3000)
    process = start("encode", "in", "-m", model, "-o", "out", "--jobs", 2)
    for _ in range(600):
        if list(place.glob("out/.narrows-*.part")):
            break
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    for _ in range(200):
        if not any(_runs(int(child)) for child in children):
            return
        time.sleep(0.05)
    raise AssertionError([child for child in children if _runs(int(child))])


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except OSError:
        return False


def test_options_of_one_medium_in_a_folder_of_both(
    codec, image_checkpoint, tiny_checkpoint, image_file, wav, monkeypatch
):
    folders = {"image": image_checkpoint, "speech": tiny_checkpoint()}
    monkeypatch.setattr("narrows.checkpoints.load.load", lambda name, device: load(folders.get(name, name), device))
    image_file("in/a.png")
    wav("in/b.wav", samples=16_000)
    result = codec("encode", "in", "-o", "out", "--quality", 3, "--codebooks", 1, "--background", "white")
    assert (result.code, result.err) == (0, "")
    monkeypatch.setattr("narrows.cli.files.shipped_model", lambda name: "image" if name == "small" else "speech")
    result = codec("decode", "out", "-o", "back", "--from", 0.2, "--to", 0.5, "--background", "white")
    assert (result.code, result.err) == (0, "")
    assert "0.30 s" in result.out
    assert codec("encode", "in/b.wav", "--quality", 3).code == 2


def test_a_format_beside_another_suffix(refused, stream, model):
    stream("s.nrw")
    assert "expected --format or the suffix of -o" in refused(
        "decode", "s.nrw", "-m", model, "-o", "a.wav", "--format", "mp3"
    )


def test_a_file_that_memory_is_too_small_for_is_named(codec, model, wav, monkeypatch):
    wav("in/a.wav")
    wav("in/b.wav")
    encode_reader = AudioTokenizer.encode_reader

    def scarce(self, reader, **settings):
        if "a.wav" in str(reader):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return encode_reader(self, reader, **settings)

    monkeypatch.setattr(AudioTokenizer, "encode_reader", scarce)
    result = codec("encode", "in", "-m", model, "-o", "out")
    assert result.code == 2
    assert "'in/a.wav': not enough memory; make it smaller" in result.err
    assert [path.name for path in Path("out").iterdir()] == ["b.nrw"]


def test_an_interrupt_while_a_file_is_opened_leaves_no_folder(place):
    @contextmanager
    def temporary(path):
        path.write_bytes(b"")
        try:
            yield
        finally:
            path.unlink()

    def process(source, target, bar):
        opened = temporary(target)
        opened.__enter__()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process_files([(place / "a.wav", place / "new" / "a.nrw")], process, make_folders=True)
    assert list(place.iterdir()) == []
