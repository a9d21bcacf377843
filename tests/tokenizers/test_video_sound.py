from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import narrows
from narrows.bitstream.varint import to_varint
from narrows.checkpoints.load import load
from narrows.errors import DamagedStream, InputError, MediaError, ModelError, NarrowsError
from narrows.media import video
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.tokens import Tokens
from narrows.tokenizers.video import VideoTokenizer
from narrows.tokenizers.video_sound import sound_attachment, sound_header, sound_of

RATE = 16_000  # Hz
Clip = Callable[..., Path]
FRAMES = [np.full((3, 16, 16), 10 * number, np.uint8) for number in range(20)]


@pytest.fixture(scope="module")
def audio(tiny_checkpoint: Clip) -> AudioTokenizer:
    tokenizer = load(tiny_checkpoint("tiny-sound"))
    assert isinstance(tokenizer, AudioTokenizer)
    return tokenizer


@pytest.fixture
def tokenizer(tiny_video: Path, audio: AudioTokenizer) -> VideoTokenizer:
    tokenizer = load(tiny_video)
    assert isinstance(tokenizer, VideoTokenizer)
    tokenizer.audio = audio
    return tokenizer


def noise(samples: int, channels: int = 1) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).standard_normal((channels, samples))).astype(np.float32)


def sound(samples: int = 16_000, offset: int = 0, channels: int = 1, rate: int = RATE) -> video.Sound:
    return video.Sound([noise(samples, channels)], rate, channels, offset)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """clip(name, ...) -> a file of 20 frames in 2 seconds with the sound that the options tell."""

    def make(name: str = "clip.mp4", **options: Any) -> Path:
        video.write(tmp_path / name, FRAMES, 10, sound=sound(**options))
        return tmp_path / name

    return make


def samples_of(track: video.Sound) -> NDArray[np.float32]:
    return np.concatenate(list(track.blocks), 1)


def track_of(path: Path) -> video.Sound:
    with video.VideoReader(path) as reader:
        track = reader.sound()
    assert track is not None
    return track


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("offset", [0, 3_217, -1_600])
def test_the_sound_comes_back_in_time_to_a_sample(
    tokenizer: VideoTokenizer,
    audio: AudioTokenizer,
    clip: Clip,
    tmp_path: Path,
    suffix: str,
    offset: int,
) -> None:
    source = clip(f"clip.{suffix}", offset=offset, channels=2)
    tokens = tokenizer.encode_file(source)
    begin, header, _ = sound_header(tokens.attachments["audio"])
    assert (begin, header.extent.facts["sample_rate"]) == (track_of(source).offset, RATE)
    restored = tokenizer.decompress(tokenizer.compress(tokens))
    assert restored == tokens
    tokenizer.decode_file(restored, tmp_path / "out.mkv")  # lossless
    found = list(video.aligned(track_of(tmp_path / "out.mkv")))
    original = samples_of(track_of(source))
    expected = audio.decode(audio.encode(original, RATE)).numpy()
    expected = np.pad(expected, ((0, 0), (begin, 0))) if begin >= 0 else expected[:, -begin:]
    assert np.abs(np.concatenate(found, 1) - expected).max() < 1e-3


def test_sound_without_frames_to_its_end_and_frames_without_sound(
    tokenizer: VideoTokenizer, clip: Clip, tmp_path: Path
) -> None:
    """Sound may be longer or shorter than the frames."""
    for samples in (500, 48_000):
        tokens = tokenizer.encode_file(clip("a.mkv", samples=samples))
        tokenizer.decode_file(tokens, tmp_path / "out.mkv", overwrite=True)
        assert samples_of(track_of(tmp_path / "out.mkv")).shape == (1, samples)
        assert video.probe(tmp_path / "out.mkv").frames == 20
        (tmp_path / "a.mkv").unlink()


def test_a_part_cuts_the_sound(tokenizer: VideoTokenizer, tmp_path: Path, clip: Clip) -> None:
    tokens = tokenizer.encode_file(clip("clip.mkv", samples=24_000, offset=800))
    tokenizer.decode_file(tokens, tmp_path / "whole.mkv")
    whole = np.concatenate(list(video.aligned(track_of(tmp_path / "whole.mkv"))), 1)
    for start, stop in ((0.0, 0.5), (0.4, 0.9), (0.5, 2.0)):
        tokenizer.decode_file(tokens, tmp_path / "part.mkv", start=start, stop=stop, overwrite=True)
        part = np.concatenate(list(video.aligned(track_of(tmp_path / "part.mkv"))), 1)
        expected = whole[:, round(start * RATE) : round(stop * RATE)]
        assert part.shape == expected.shape
        assert np.abs(part - expected).max() < 1e-3
    tokenizer.decode_file(tokens, tmp_path / "silent.mkv", start=1.8)
    assert not video.probe(tmp_path / "silent.mkv").sound  # it ended before


def test_parts_of_a_variable_rate(tokenizer: VideoTokenizer, tmp_path: Path) -> None:
    times = [Fraction(number * number, 200) for number in range(20)]
    video.write(tmp_path / "clip.mov", FRAMES, times=times, sound=sound(24_000))
    tokens = tokenizer.encode_file(tmp_path / "clip.mov")
    assert set(tokens.attachments) == {"audio", "times"}
    tokenizer.decode_file(tokens, tmp_path / "part.mov", start=0.5)  # frame 10
    assert video.probe(tmp_path / "part.mov").frames == 10
    part = track_of(tmp_path / "part.mov")
    assert abs(samples_of(part).shape[1] - (len(samples_of(track_of(tmp_path / "clip.mov"))[0]) - 0.5 * RATE)) < 1_024


def test_sound_is_left_out(tokenizer: VideoTokenizer, clip: Clip, tmp_path: Path) -> None:
    silent = tokenizer.encode_file(clip(), sound=False)
    assert not silent.attachments
    tokens = tokenizer.encode_file(tmp_path / "clip.mp4")
    assert tokens == replace(silent, attachments=tokens.attachments)
    tokenizer.decode_file(tokens, tmp_path / "out.mp4", sound=False)
    assert not video.probe(tmp_path / "out.mp4").sound
    encoder = tokenizer.batch_encoder()
    assert encoder.add(encoder.read(tmp_path / "clip.mp4"))() == silent


def test_shipped_models_are_chosen_by_the_sound(tiny_video: Path, clip: Clip, tmp_path: Path) -> None:
    tokenizer = narrows.load(tiny_video)
    for channels, expected in ((1, "speech"), (2, "audio")):
        tokens = tokenizer.encode_file(clip(f"{channels}.mkv", channels=channels, samples=4_000))
        assert sound_header(tokens.attachments["audio"])[1].model == expected
        tokenizer.decode_file(tokens, tmp_path / f"out{channels}.mp4")
        assert track_of(tmp_path / f"out{channels}.mp4").channels == channels


def test_other_models(
    tokenizer: VideoTokenizer,
    tiny_video: Path,
    tiny_checkpoint: Clip,
    clip: Clip,
    tmp_path: Path,
) -> None:
    """A model of one's own is needed for what it made; a name in a stream loads no folder and fetches nothing."""
    tokens = tokenizer.encode_file(clip())
    other = load(tiny_video)
    assert isinstance(other, VideoTokenizer)
    with pytest.raises(ModelError, match=r"expected the audio model tiny-sound .* got none; give it"):
        other.decode_file(tokens, tmp_path / "out.mp4")
    other.audio = load(tiny_checkpoint("tiny-sound", 1))  # other weights
    with pytest.raises(ModelError, match=r"got tiny-sound \(\w+\); give it with --audio-model"):
        other.decode_file(tokens, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
    other.audio = other
    with pytest.raises(InputError, match=r"expected an audio model for the sound, got tiny-video of video"):
        other.encode_file(tmp_path / "clip.mp4")
    bare = VideoTokenizer(tokenizer.codec)
    with pytest.raises(InputError, match=r"expected an audio model for the sound, got none"):
        bare.encode_file(tmp_path / "clip.mp4")
    assert not bare.encode_file(tmp_path / "clip.mp4", sound=False).attachments


def test_damaged_sound_costs_only_the_sound(tokenizer: VideoTokenizer, clip: Clip, tmp_path: Path) -> None:
    tokens = tokenizer.encode_file(clip())
    data = bytearray(tokenizer.compress(tokens))
    at = bytes(data).index(tokens.attachments["audio"])
    data[at + 100] ^= 1
    with pytest.raises(DamagedStream, match="the attachment audio fails its checksum"):
        tokenizer.decompress(bytes(data))
    recovered, lost = tokenizer.recover(bytes(data))
    assert (recovered, lost) == (replace(tokens, attachments={}), [])


def test_bad_attachments(tokenizer: VideoTokenizer, audio: AudioTokenizer, clip: Clip, tmp_path: Path) -> None:
    tokens = tokenizer.encode_file(clip())
    stream = sound_header(tokens.attachments["audio"])[2]
    no_sound = tokenizer.compress(replace(tokens, attachments={}))
    for data in (b"\0", b"\0" + stream[:40], b"\xff" * 10, to_varint(2**40) + stream, b"\0" + no_sound):
        bad = tokenizer.compress(replace(tokens, attachments={"audio": data}))
        with pytest.raises(NarrowsError) as caught:
            tokenizer.decode_file(bad, tmp_path / "out.mp4")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out.mp4").exists()
    with pytest.raises(InputError, match="within 3600 s of the first frame, got 7200 s"):
        sound_attachment(sound(10, offset=7_200 * RATE), audio)


@pytest.mark.parametrize("offset", [0, 1, -1, 63, -64, 5_000, -5_000])
def test_offsets(audio: AudioTokenizer, offset: int) -> None:
    data = sound_attachment(sound(1_000, offset), audio)
    found = sound_of(data, audio, None)
    assert found is not None
    assert (found.offset, found.sample_rate, found.channels) == (offset, RATE, 1)
    assert samples_of(found).shape == (1, 1_000)


def test_long_sound_is_coded_in_bounded_memory(audio: AudioTokenizer) -> None:
    """No more blocks are asked for than the windows of the audio model need."""
    waiting = 0

    def blocks() -> Any:
        nonlocal waiting
        for _ in range(400):
            waiting += 1
            yield noise(RATE // 4)

    data = sound_attachment(video.Sound(blocks(), RATE, 1), audio)
    found = sound_of(data, audio, None)
    assert found is not None
    first = next(iter(found.blocks))
    assert first.shape[1] <= audio.window * 320
    assert waiting == 400


def test_broken_clips(tokenizer: VideoTokenizer, clip: Clip, tmp_path: Path) -> None:
    """Without `recover` an error; with it the frames and the sound before the damage, and the reader names it."""
    data = clip("clip.mkv", samples=32_000).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(MediaError, match=r"cut\.mkv"):
        tokenizer.encode_file(cut)
    tokens = tokenizer.encode_file(cut, recover=True)
    frames = tokens.extent.frames  # type: ignore[attr-defined]
    assert 5 < frames < 20
    assert 8_000 < sound_header(tokens.attachments["audio"])[1].extent.samples < 32_000  # type: ignore[attr-defined]
    whole = tokenizer.encode_file(tmp_path / "clip.mkv")
    same = (frames - 1) // 4  # latent frames without padding
    assert np.array_equal(tokens.codes[:, :, :same], whole.codes[:, :, :same])
    with tokenizer.open(cut, recover=True) as reader:
        tokenizer.encode_reader(reader)
        assert isinstance(reader, video.VideoReader)
        assert any("cut.mkv" in line for line in reader.damage)


def test_options_of_other_media(audio: AudioTokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected video for sound, got audio for tiny-sound; leave it out"):
        audio.encode_file(tmp_path / "a.wav", sound=False)
    with pytest.raises(InputError, match=r"expected video for recover, got image"):
        narrows.load("image").encode_file(tmp_path / "a.png", recover=True)
    with pytest.raises(InputError, match=r"expected options of audio \(start, stop\), got sound=False"):
        audio.decode_file(Tokens, tmp_path / "a.wav", sound=False)  # type: ignore[arg-type]
