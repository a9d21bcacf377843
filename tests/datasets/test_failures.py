from narrows.datasets.base import Failure
from narrows.datasets.failures import Reason, group_failures, read_failures, write_failures

PATHS = ("/data/a b.wav", "/data/it's.wav", "/data/new\nline.wav")


def test_failures_are_grouped_by_reason_without_paths() -> None:
    failures = [Failure(f"k{number}", f"{path!r} has no audio (codec 'mp9')") for number, path in enumerate(PATHS)]
    failures += [Failure("z", "not enough memory"), Failure("y", "'/x' has no audio (codec 'mp9')")]
    assert group_failures(failures) == [
        Reason("… has no audio (codec 'mp9')", 4, ["k0", "k1", "k2"]),
        Reason("not enough memory", 1, ["z"]),
    ]
    assert group_failures([]) == []


def test_failures_are_read_as_they_were_written(tmp_path) -> None:
    failures = [Failure("ü\u2028", "a\u2028b"), Failure("b", "caf\udce9")]
    write_failures(tmp_path / "x.jsonl", failures)
    assert list(read_failures(tmp_path / "x.jsonl")) == failures
    write_failures(tmp_path / "x.jsonl", [])
    assert not (tmp_path / "x.jsonl").exists()
    assert list(read_failures(tmp_path / "x.jsonl")) == []
