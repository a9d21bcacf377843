import struct

import numpy as np
import pytest
import soundfile

from narrows.media import audio

RATE = 44_100


def shift(found: np.ndarray, given: np.ndarray) -> int:
    """The delay in samples of the first channel of `found` relative to that of `given`."""
    part = given[0, 4_000:6_000]
    return int(np.correlate(found[0, :10_000], part, "valid").argmax()) - 4_000


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("ipod", "aac", 44_100),
        ("mp4", "aac", 48_000),
        ("mov", "aac", 22_050),
        ("ipod", "alac", 44_100),
        ("webm", "libopus", 48_000),
        ("mp3", "libmp3lame", 44_100),
    ],
)
@pytest.mark.parametrize("samples", [1_025, 14_000, 29_001])
def test_nothing_is_added_or_lost(tmp_path, noise, encode, container, codec, rate, samples):
    given = noise[:, :samples]
    encode(tmp_path / "a", given, rate, codec, container)
    back = audio.read(tmp_path / "a")
    assert back.sample_rate == rate
    assert back.samples.shape == given.shape
    assert audio.probe(tmp_path / "a").samples == samples
    if samples > 10_000:
        assert shift(back.samples, given) == 0


@pytest.mark.parametrize("samples", [1, 2, 22, 44, 1_023, 1_024])
def test_short_m4a_files_are_complete(tmp_path, noise, encode, samples):
    encode(tmp_path / "a.m4a", noise[:, :samples], RATE)
    assert audio.read(tmp_path / "a.m4a").samples.shape == (2, samples)


def test_padding_that_the_container_does_not_state_stays(tmp_path, noise, encode):
    """AAC without an edit list begins with the encoder delay; without a last duration it ends with padding."""
    encode(tmp_path / "fragments.mp4", noise, RATE, container="mp4", movflags="frag_keyframe+empty_moov")
    found = audio.read(tmp_path / "fragments.mp4").samples
    assert (found.shape[1], shift(found, noise)) == (30_000 + 1_024, 1_024)
    encode(tmp_path / "a.mkv", noise, RATE, container="matroska")
    found = audio.read(tmp_path / "a.mkv").samples
    # FFmpeg states the encoder delay in Matroska from version 8 on.
    assert (found.shape[1], shift(found, noise)) in ((30 * 1_024, 0), (31 * 1_024, 1_024))
    encode(tmp_path / "a.aac", noise, RATE, container="adts")
    found = audio.read(tmp_path / "a.aac").samples
    assert (found.shape[1], shift(found, noise)) == (31 * 1_024, 1_024)


@pytest.mark.parametrize(
    ("ticks", "length", "start", "expected", "shifted"),
    [
        (RATE, 30_720 - 500, 0, 30_720 - 500, 0),  # padding, to the sample
        (RATE, 15_000, 0, 15_000, 0),  # a real cut at the end
        (RATE, 30_720 - 3_000, 3_000, 30_720 - 3_000, -3_000),  # a real cut in front
        (1_000, 30_720, 0, 30_720, 0),  # rounded to a millisecond
    ],
)
def test_edit_lists_cut(tmp_path, noise, encode, ticks, length, start, expected, shifted):
    given = np.tile(noise, 2)[:, :30_720]
    encode(tmp_path / "a.m4a", given, RATE, movie_timescale=str(ticks))
    data = bytearray((tmp_path / "a.m4a").read_bytes())
    edit = data.index(b"elst") + 12
    data[edit : edit + 8] = struct.pack(">Ii", round(length * ticks / RATE), 1_024 + start)
    (tmp_path / "a.m4a").write_bytes(data)
    found = audio.read(tmp_path / "a.m4a").samples
    assert found.shape[1] == expected
    assert shift(found, given) == shifted


@pytest.mark.parametrize("length", [1, 1_000, 4_096, 100_000])
def test_blocks_make_up_the_file(tmp_path, noise, encode, length):
    encode(tmp_path / "a.m4a", noise[:, :9_000], RATE)
    blocks = list(audio.blocks(tmp_path / "a.m4a", length))
    assert all(block.shape == (2, length) for block in blocks[:-1])
    assert np.array_equal(np.concatenate(blocks, axis=1), audio.read(tmp_path / "a.m4a").samples)


def test_mono_and_names(tmp_path, noise, encode):
    encode(tmp_path / "a.m4a", noise[:1], RATE, layout="mono")
    info = audio.probe(tmp_path / "a.m4a")
    assert (info.channels, info.codec) == (1, "aac")
    assert "m4a" in info.format


def test_an_mp3_without_a_header_is_read_to_its_end(tmp_path, noise):
    soundfile.write(tmp_path / "a.mp3", noise.T, RATE)
    data = (tmp_path / "a.mp3").read_bytes()
    second_frame = data.index(data[:2], 100)
    (tmp_path / "b.mp3").write_bytes(data[second_frame:])
    assert audio.read(tmp_path / "b.mp3").samples.shape == (2, 28 * 1_152)  # all frames, padding included
    assert audio.probe(tmp_path / "b.mp3").samples == 28 * 1_152


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), b"some text at the end " * 5], ids=["ID3v1", "text"])
@pytest.mark.parametrize("head", [b"", b"ID3\4\0\0\0\0\2\0" + bytes(256)], ids=["bare", "ID3v2"])
def test_tags_of_an_mp3_are_not_decoded(tmp_path, noise, head, tail):
    soundfile.write(tmp_path / "a.mp3", noise.T, RATE)
    (tmp_path / "b.mp3").write_bytes(head + (tmp_path / "a.mp3").read_bytes() + tail)
    assert audio.probe(tmp_path / "b.mp3").samples == 30_000
    assert np.array_equal(audio.read(tmp_path / "b.mp3").samples, audio.read(tmp_path / "a.mp3").samples)


def test_two_mp3_in_one_file_are_both_read(tmp_path, noise):
    soundfile.write(tmp_path / "a.mp3", noise.T, RATE)
    (tmp_path / "b.mp3").write_bytes((tmp_path / "a.mp3").read_bytes() * 2)
    assert audio.read(tmp_path / "b.mp3").samples.shape[1] >= 60_000


def test_a_change_of_the_sample_rate(tmp_path, noise, error_message):
    for name, rate in (("a.mp3", 44_100), ("b.mp3", 22_050)):
        soundfile.write(tmp_path / name, noise.T, rate)
    (tmp_path / "c.mp3").write_bytes((tmp_path / "a.mp3").read_bytes() + (tmp_path / "b.mp3").read_bytes())
    line = error_message(audio.read, tmp_path / "c.mp3")
    assert "it changes from 2 channels at " in line
    assert "44100 Hz" in line
    assert "22050 Hz" in line


@pytest.mark.parametrize("container", ["ipod", "matroska"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_cut_files(tmp_path, noise, encode, error_message, container, part):
    options = {"movflags": "faststart"} if container == "ipod" else {}
    encode(tmp_path / "a", noise, RATE, container=container, **options)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data[: int(part * len(data))])
    assert "is cut: expected " in error_message(audio.read, tmp_path / "a")


def test_a_video_without_audio(tmp_path, error_message):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=24)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for packet in (*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)):
            file.mux(packet)
    assert "a.mp4' has no audio track" in error_message(audio.read, tmp_path / "a.mp4")


def test_a_codec_without_a_decoder(tmp_path, noise, encode, error_message):
    encode(tmp_path / "a.mka", noise, RATE, container="matroska")
    data = (tmp_path / "a.mka").read_bytes()
    (tmp_path / "a.mka").write_bytes(data.replace(b"A_AAC", b"A_NEW"))
    assert "no decoder" in error_message(audio.read, tmp_path / "a.mka")


@pytest.mark.parametrize("length", [30_000, 29_000])
def test_delay_and_length_in_a_tag_of_itunes(tmp_path, noise, encode, length):
    def box(name: bytes, *content: bytes) -> bytes:
        data = b"".join(content)
        return struct.pack(">I4s", 8 + len(data), name) + data

    encode(tmp_path / "a.m4a", np.tile(noise, 2)[:, : 30 * 1024], RATE, use_editlist="0")
    data = (tmp_path / "a.m4a").read_bytes()
    moov, tags = data.index(b"moov") - 4, data.index(b"udta") - 4  # the last boxes of the file and of the movie
    value = f" 00000000 00000400 {31 * 1024 - 1024 - length:08X} {length:016X} 00000000".encode()
    name = box(b"mean", bytes(4), b"com.apple.iTunes") + box(b"name", bytes(4), b"iTunSMPB")
    item = box(b"----", name, box(b"data", struct.pack(">II", 1, 0), value))
    meta = box(b"meta", bytes(4), box(b"hdlr", bytes(8), b"mdirappl", bytes(9)), box(b"ilst", item))
    (tmp_path / "b.m4a").write_bytes(data[:moov] + box(b"moov", data[moov + 8 : tags], box(b"udta", meta)))
    found = audio.read(tmp_path / "b.m4a").samples
    assert (found.shape[1], shift(found, noise)) == (length, 0)


def test_edits_out_of_order(tmp_path, noise, encode, error_message):
    encode(tmp_path / "a.m4a", noise, RATE)
    data = (tmp_path / "a.m4a").read_bytes()
    edits = struct.pack(">4sIIIiIIiI", b"elst", 0, 2, 100, 10_000, 1 << 16, 100, 1_024, 1 << 16)
    at = data.index(b"elst")
    data = data[: at - 4] + struct.pack(">I", 4 + len(edits)) + edits + data[at + 24 :]
    for name in (b"edts", b"trak", b"moov"):  # each is 12 bytes longer
        at = data.index(name) - 4
        data = data[:at] + struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] + 12) + data[at + 4 :]
    (tmp_path / "b.m4a").write_bytes(data)
    assert "plays parts of it again or in another order" in error_message(audio.read, tmp_path / "b.m4a")


@pytest.mark.parametrize("name", ["http:a.m4a", "concat:a|b.m4a", "ä \udcff.m4a", "a,,:b,end,9.m4a"])
def test_names_are_not_taken_for_protocols(tmp_path, noise, encode, monkeypatch, name):
    encode(tmp_path / "a.m4a", noise, RATE)
    (tmp_path / "a.m4a").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert audio.probe(name).samples == 30_000
    with open(name, "ab") as file:
        file.write(b"TAG" + bytes(125))
    assert audio.probe(name).samples == 30_000


@pytest.mark.parametrize(
    ("container", "codec", "beside"),
    [
        ("ipod", "aac", 0),
        ("mov", "alac", 0),
        ("adts", "aac", 0),
        ("mp3", "libmp3lame", 0),
        ("webm", "libopus", 50),
        ("mpegts", "aac", 50),
    ],
)
@pytest.mark.parametrize("place", [1, 20_000, 90_000])
def test_skipping_seeks_to_about_the_place(tmp_path, encode, container, codec, beside, place):
    noise = np.cumsum(np.random.default_rng(0).standard_normal((2, 96_000)), 1)
    encode(tmp_path / "a", (0.5 * noise / np.abs(noise).max()).astype(np.float32), 48_000, codec, container)
    whole = audio.read(tmp_path / "a").samples
    with audio.AudioReader(tmp_path / "a") as reader:
        assert reader.expected_samples == pytest.approx(whole.shape[1], rel=0.1)
        reader.skip(place)
        found = reader.read(900)
    assert found.shape == (2, 900)
    starts = range(max(0, place - beside), place + beside + 1)
    assert min(np.abs(found - whole[:, start : start + 900]).max() for start in starts) < 0.02


@pytest.mark.parametrize("container", ["webm", "matroska"])
def test_a_matroska_whose_end_is_zeros_is_cut(tmp_path, noise, encode, error_message, container):
    """As a download into a file of the full size leaves it."""
    path = tmp_path / "a"
    encode(path, noise, 48_000, "libopus", container)
    samples, data = audio.probe(path).samples, path.read_bytes()
    for kept in (0.4, 0.8):
        begin = int(kept * len(data))
        path.write_bytes(data[:begin] + bytes(len(data) - begin))
        message = error_message(audio.read, path)
        assert "is cut: expected " in message or "damaged" in message
    path.write_bytes(data + bytes(100))  # behind the end of what the header declares: nothing is lost
    assert audio.probe(path).samples == samples
