import os
import resource
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from narrows.errors import InputError, MediaError
from narrows.media import audio
from narrows.media.audio import AudioWriter, writer

FORMATS = ["wav", "flac", "ogg", "opus", "mp3"]


@pytest.mark.parametrize(
    ("suffix", "encoding", "format", "subtype"),
    [
        ("wav", None, "WAV", "PCM_16"),
        ("WAV", "pcm16", "WAV", "PCM_16"),
        ("wav", "pcm24", "WAV", "PCM_24"),
        ("wav", "float32", "WAV", "FLOAT"),
        ("flac", None, "FLAC", "PCM_16"),
        ("flac", "pcm24", "FLAC", "PCM_24"),
        ("ogg", None, "OGG", "VORBIS"),
        ("opus", None, "OGG", "OPUS"),
        ("mp3", None, "MP3", "MPEG_LAYER_III"),
    ],
)
def test_the_suffix_chooses_the_format(tmp_path, noise, suffix, encoding, format, subtype):
    audio.write(tmp_path / f"a.{suffix}", noise, 48_000, encoding=encoding)
    info = soundfile.info(tmp_path / f"a.{suffix}")
    assert (info.format, info.subtype, info.frames, info.channels) == (format, subtype, 30_000, 2)


def test_unknown_suffixes_and_encodings(tmp_path, noise, error_message):
    line = error_message(audio.write, tmp_path / "a.xyz", noise, 48_000, error=InputError)
    assert "expected one of the suffixes .wav, .flac, .ogg, .opus, .mp3, got .xyz in " in line
    assert "got none in " in error_message(audio.write, tmp_path / "a", noise, 48_000, error=InputError)
    line = error_message(audio.write, tmp_path / "a.flac", noise, 48_000, encoding="float32", error=InputError)
    assert "expected one of the encodings pcm16, pcm24, got 'float32'" in line
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("suffix", "rate", "message"),
    [
        ("opus", 44_100, "8000, 12000, 16000, 24000, 48000 Hz for .opus, got 44100 for "),
        ("mp3", 96_000, "32000, 44100, 48000 Hz for .mp3, got 96000 for "),
        ("ogg", 384_000, "up to 200000 Hz for .ogg, got 384000 for "),
    ],
)
def test_sample_rates_that_a_format_does_not_take(tmp_path, noise, error_message, suffix, rate, message):
    assert message in error_message(audio.write, tmp_path / f"a.{suffix}", noise, rate)


@pytest.mark.parametrize("rate", [0, -1, 999, 384_001])
def test_sample_rates_out_of_range(tmp_path, noise, error_message, rate):
    line = error_message(audio.write, tmp_path / "a.wav", noise, rate, error=InputError)
    assert f"expected a sample rate from 1000 to 384000 Hz, got {rate} Hz for " in line


def test_a_fractional_sample_rate(tmp_path, noise, error_message):
    assert "sample_rate=44100.5" in error_message(audio.write, tmp_path / "a.wav", noise, 44_100.5, error=InputError)


@pytest.mark.parametrize(("suffix", "limit"), [("wav", 64), ("flac", 8), ("ogg", 64), ("opus", 64), ("mp3", 2)])
def test_channels_up_to_the_limit_of_the_format(tmp_path, error_message, suffix, limit):
    ramp = np.linspace(0.01, 0.6, limit)[:, None] * np.sin(
        np.arange(4_800) / 5
    )  # each channel louder than the one before
    audio.write(tmp_path / f"a.{suffix}", ramp, 48_000)
    loudness = np.abs(audio.read(tmp_path / f"a.{suffix}").samples).mean(1)
    assert loudness.shape == (limit,)
    assert (np.diff(loudness) > 0).all()
    if limit < 64:
        line = error_message(audio.write, tmp_path / f"b.{suffix}", np.zeros((limit + 1, 100)), 48_000)
        assert f"expected at most {limit} channels for .{suffix}, got {limit + 1} for " in line


def test_two_million_samples_at_once(tmp_path):
    """libsndfile's Vorbis encoder would overflow the stack."""
    audio.write(tmp_path / "a.ogg", np.zeros((1, 2_000_000), np.float32), 8_000)
    assert audio.probe(tmp_path / "a.ogg").samples == 2_000_000


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_interrupt_leaves_no_file(tmp_path, noise, suffix):
    def interrupted():
        yield noise
        raise KeyboardInterrupt

    path = tmp_path / f"a.{suffix}"
    with pytest.raises(KeyboardInterrupt):
        audio.write(path, interrupted(), 48_000)
    assert os.listdir(tmp_path) == []
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        audio.write(path, interrupted(), 48_000, overwrite=True)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_an_error_of_the_blocks_is_passed_on(tmp_path, noise):
    def missing():
        yield noise
        (tmp_path / "input that is not there").read_bytes()

    with pytest.raises(FileNotFoundError):
        audio.write(tmp_path / "a.wav", missing(), 48_000)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_existing_files_stay(tmp_path, noise, error_message, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"old")
    assert "pass --force (overwrite=True in Python)" in error_message(audio.write, path, noise, 48_000)
    assert path.read_bytes() == b"old"
    audio.write(path, noise, 48_000, overwrite=True)
    assert audio.probe(path).samples == 30_000


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("missing", [1, 100, 2_000, None], ids=["last byte", "100 bytes", "2 kB", "all but the header"])
def test_a_full_disk(tmp_path, noise, error_message, suffix, missing):
    """A limit on the length of files acts like a full disk, in the middle or in the last write of the encoder."""
    audio.write(tmp_path / f"whole.{suffix}", noise, 48_000)
    room = (tmp_path / f"whole.{suffix}").stat().st_size - missing if missing else 60
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, old[1]))
    try:
        line = error_message(audio.write, tmp_path / f"a.{suffix}", noise, 48_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert f"a.{suffix}' could not be written to its end" in line
    assert "file too large" in line
    assert os.listdir(tmp_path) == [f"whole.{suffix}"]


def test_a_missing_folder_is_named(tmp_path, noise, error_message):
    assert "mkdir -p" in error_message(audio.write, tmp_path / "out" / "a.wav", noise, 48_000)


def test_the_size_limit_of_wav(tmp_path, noise, error_message, monkeypatch):
    monkeypatch.setattr(writer, "_MAX_WAV_BYTES", 200_000)
    audio.write(tmp_path / "a.wav", noise, 48_000)
    line = error_message(audio.write, tmp_path / "b.wav", [noise, noise], 48_000)
    assert "expected less than the 4 GiB that a .wav can hold" in line
    audio.write(tmp_path / "b.flac", [noise, noise], 48_000)


def test_the_writer_counts_and_closes(tmp_path, noise, error_message):
    writer = AudioWriter(tmp_path / "a.wav", sample_rate=48_000, channels=2)
    assert "is not open; write to it inside: with" in error_message(writer.write, noise, error=InputError)
    with writer:
        writer.write(noise)
        writer.write(noise[:, :0])
        writer.write(noise[:, :7])
        assert writer.samples == 30_007
        assert not (tmp_path / "a.wav").exists()
    assert "is not open" in error_message(writer.write, noise, error=InputError)
    assert audio.read(tmp_path / "a.wav").samples.shape == (2, 30_007)


def test_one_of_two_concurrent_writers_succeeds(tmp_path, noise):
    ready, outcomes = threading.Barrier(2), []

    def race(loudness: float) -> None:
        try:
            with AudioWriter(tmp_path / "a.wav", sample_rate=48_000, channels=2) as writer:
                writer.write(loudness * noise)
                ready.wait(timeout=10)
            outcomes.append("written")
        except MediaError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=race, args=(loudness,)) for loudness in (0.5, 1.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted("exists already" in outcome for outcome in outcomes) == [False, True]
    assert os.listdir(tmp_path) == ["a.wav"]


def test_the_highest_sample_rates_do_not_crash_the_process(tmp_path):
    """libsndfile's Vorbis encoder crashes the process above 200 kHz, so this runs in another process."""
    code = (
        "import sys, numpy as np; from narrows.media import audio\n"
        "for suffix, rate in (('ogg', 200_000), ('ogg', 1_000), ('wav', 384_000), ('flac', 384_000)):\n"
        "    audio.write(f'{sys.argv[1]}/{rate}.{suffix}', np.full((6, 20_000), 0.5), rate)\n"
        "    print(audio.probe(f'{sys.argv[1]}/{rate}.{suffix}').samples)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (result.stdout.split(), result.stderr) == (["20000"] * 4, "")
