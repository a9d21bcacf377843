import json

import pytest

from narrows.datasets.sources import list_items, manifests

WAVES = {"a.wav": b"A", "d/b c.wav": b"B", "d/ä,1.wav": b"C"}


@pytest.fixture
def listed(folder):
    """The entries of a manifest beside three files."""

    def made(name, text, medium="audio"):
        data = text if isinstance(text, bytes) else text.encode()
        return list_items(str(folder(WAVES | {name: data}) / name), medium)

    return made


@pytest.mark.parametrize("column", ["path", "audio", "audio_filepath", "file"])
def test_json_lines(listed, content, column):
    rows = [{column: name, "text": f"so\n{name}", "n": {"x": [1, None]}} for name in WAVES]
    found = listed("m.jsonl", "\n\n".join(map(json.dumps, rows)))
    assert [item.key for item in found] == ["a", "d/b c", "d/ä,1"]
    assert [content(item) for item in found] == [b"A", b"B", b"C"]
    assert found[1].meta == {"text": "so\nd/b c.wav", "n": {"x": [1, None]}}
    assert [item.location.size for item in found] == [1, 1, 1]


@pytest.mark.parametrize(("name", "comma"), [("m.csv", ","), ("m.tsv", "\t"), ("M.CSV", ",")])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_and_tsv(listed, content, name, comma, mark):
    lines = [["id", "path", "text"], ["1", "a.wav", '"one ""1"""'], ["2", '"d/ä,1.wav"', '"two\nlines"'], []]
    found = listed(name, mark + "\r\n".join(comma.join(line) for line in lines))
    assert [(item.key, content(item), item.meta) for item in found] == [
        ("1", b"A", {"text": 'one "1"'}),
        ("2", b"C", {"text": "two\nlines"}),
    ]


def test_kaldi(listed, content):
    found = listed("wav.scp", "u2 d/b c.wav\nu1 \t  a.wav \n\n")
    assert [(item.key, content(item)) for item in found] == [("u1", b"A"), ("u2", b"B")]


def test_commands_of_kaldi_are_refused_and_not_run(listed, refusal, tmp_path):
    message = refusal(listed, "wav.scp", f"u1 a.wav\nu2 touch {tmp_path}/run; cat a.wav |\n")
    assert "line 2" in message
    assert "'u2'" in message
    assert not (tmp_path / "run").exists()


def test_keys_of_the_manifest_take_precedence(listed):
    rows = [{"path": "a.wav", "key": "z"}, {"path": "a.wav", "id": 7}, {"path": "a.wav", "key": "", "id": None}]
    found = listed("m.jsonl", "\n".join(map(json.dumps, rows)))
    assert [item.key for item in found] == ["7", "a.wav", "z"]


def test_the_column_depends_on_the_medium(listed):
    row = '{"audio": "a.wav", "image": "p.png"}'
    (recording,), (picture,) = listed("m.jsonl", row), listed("m.jsonl", row, "image")
    assert (recording.key, recording.meta) == ("a", {"image": "p.png"})
    assert (picture.key, picture.meta) == ("p", {"audio": "a.wav"})


def test_missing_files_are_listed(listed):
    found = listed("m.csv", "path\na.wav\ngone.wav\nnul\0.wav\n")
    assert [(item.key, item.location.size) for item in found] == [("a", 1), ("gone", None), ("nul\0", None)]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '"a.wav"',
        '{"path": NaN}',
        '{"path": "a.wav", "x": Infinity}',
        '{"path": "a.wav", "x": "\\ud800"}',
        '{"text": "no path"}',
        '{"path": 3}',
        '{"path": {"bytes": ""}}',
        '{"path": "a.wav", "id": [1]}',
        "[" * 200_000,
        b'{"path": "\xff"}',
    ],
)
def test_invalid_lines_are_named(listed, refusal, line):
    data = line if isinstance(line, bytes) else line.encode()
    message = refusal(listed, "m.jsonl", b'{"path": "a.wav"}\n\n' + data + b"\n")
    assert "line 3 of" in message
    assert len(message) < 500


def test_surrogate_pairs_are_one_character(listed):
    (item,) = listed("m.jsonl", '{"path": "a.wav", "x": "\\ud83d\\ude00"}')
    assert item.meta == {"x": "\U0001f600"}


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "wav.scp"])
def test_too_long_lines_are_refused(listed, refusal, monkeypatch, name):
    monkeypatch.setattr(manifests, "MAX_LINE", 1 << 20)
    message = refusal(listed, name, b"path\na.wav\n"[: 11 if name == "m.csv" else 0] + b"x" * ((1 << 20) + 1))
    assert "at most 1 MiB" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speaker,text\n1,a\n", "path"),
        ("path,path\na.wav,a.wav\n", "twice"),
        ("path,text\na.wav,x\na.wav\n", "line 3"),
        ("path,text\na.wav,x,y\n", "line 2"),
        ('path,text\na.wav,x\na.wav,"open\n', "line 3"),
        (f"path\n{'x' * 200_000}\n", "line 2"),
    ],
)
def test_invalid_tables_are_refused(listed, refusal, text, message):
    assert message in refusal(listed, "m.csv", text)


@pytest.mark.parametrize(
    ("name", "text", "columns", "advice"),
    [
        ("m.csv", "path;text\na.wav;so\n", "'path;text'", "commas to separate them"),
        ("m.csv", "path;text\na.wav;so, it is\n", "'path;text'", "commas to separate them"),
        ("m.csv", "a.wav,so\nb.wav,no\n", "'a.wav', 'so'", "the first line has to name the columns"),
        ("m.tsv", "path,text\na.wav,so\n", "'path,text'", "tabs to separate them"),
        ("m.jsonl", '{"wav": "a.wav", "n": 1}', "'wav', 'n'", "rename the one with the paths"),
        ("m.jsonl", "{}", "no columns", "rename"),
    ],
)
def test_the_columns_that_were_found_are_named(listed, refusal, name, text, columns, advice):
    message = refusal(listed, name, text)
    assert columns in message
    assert advice in message


def test_spaces_around_names_of_columns_are_removed(listed):
    (item,) = listed("m.csv", " path , text\na.wav, so \n")
    assert (item.key, item.meta) == ("a", {"text": " so "})


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "wav.scp"])
def test_an_empty_manifest_is_refused(listed, refusal, name):
    assert "expected items of audio" in refusal(listed, name, "")


@pytest.mark.parametrize("value", ["1e999", "[-1e999]", "[" * 70 + "]" * 70], ids=range(3))
def test_infinite_numbers_and_deep_nesting_are_refused(listed, refusal, value):
    message = refusal(listed, "m.jsonl", f'{{"path": "a.wav", "x": 1e9}}\n{{"path": "d/b c.wav", "x": {value}}}\n')
    assert "line 2" in message
    assert "is not a finite number" in message or "nested too deep" in message


def test_segments_of_files_are_refused(listed, refusal):
    row = '{"audio_filepath": "a.wav", "offset": %s, "duration": 1.5}\n'
    assert "line 1 of" in refusal(listed, "m.jsonl", row % "0.5")
    assert "cut the files first" in refusal(listed, "m.jsonl", row % "0.5")
    (item,) = listed("m.jsonl", row % "0.0")
    assert item.meta == {"offset": 0.0, "duration": 1.5}
    (item,) = listed("m.csv", "path,offset\na.wav,0.00\n")
    assert item.meta == {"offset": "0.00"}


def test_keys_of_paths_outside_of_the_folder_are_relative_to_the_folder_of_all_files(folder):
    source = folder({"data/a/1.wav": b"A", "data/ü/1.wav": b"B", "lists/m.jsonl": b"", "data/m.jsonl": b""})
    rows = [{"path": f"{source}/data/a/1.wav"}, {"path": f"{source}/data/a/../ü/1.wav"}]
    for name in ("lists/m.jsonl", "data/m.jsonl"):
        (source / name).write_text("\n".join(map(json.dumps, rows)))
        assert [item.key for item in list_items(str(source / name), "audio")] == ["a/1", "ü/1"]
    (source / "lists/m.jsonl").write_text('{"path": "../data/./a/1.wav"}')
    assert [item.key for item in list_items(str(source / "lists/m.jsonl"), "audio")] == ["1"]


def test_a_line_is_printed_where_some_files_are_outside_of_the_folder(folder):
    source, lines = folder({"d/a.wav": b"A", "b.wav": b"B", "d/m.csv": b"path\na.wav\n../b.wav\n"}), list[str]()
    found = list_items(str(source / "d/m.csv"), "audio", notice=lines.append)
    assert [item.key for item in found] == ["b", "d/a"]
    (line,) = lines
    assert f"b.wav' is outside of the folder of its manifest, so keys made from paths begin at '{source}'" in line
    for text in ("path\na.wav\n", "path\n../b.wav\n", "path,key\na.wav,1\n../b.wav,2\n"):
        (source / "d/m.csv").write_text(text)
        list_items(str(source / "d/m.csv"), "audio", notice=lines.append)
    assert len(lines) == 1


def test_manifests_of_two_folders_do_not_collide(folder):
    source = folder({"a/m.csv": b"path\n1.wav\n", "b/m.csv": b"path\n1.wav\n"})
    found = list_items([f"{source}/a/m.csv", f"{source}/b/m.csv"], "audio")
    assert [item.key for item in found] == ["a/1", "b/1"]
