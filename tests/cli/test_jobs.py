"""Several files in several processes: the outputs, lines and errors of one process."""

import signal
import time


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
    assert one.err.replace("one", "two").splitlines()[-2:] == [
        "codec: 1 of 4 files failed: 'in/d.wav'",
        "codec: skipped 1 file that is no audio or image: .txt 1",
    ]
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
