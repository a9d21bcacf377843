import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import narrows
from narrows.bitstream import AudioExtent
from narrows.codecs import FSQ, AttentionProjection, Codec, FrameDecoder, FrameEncoder, MultiCodebook, Tanh
from narrows.errors import DamagedStream, InputError, WrongModel
from narrows.media import audio as media
from narrows.tokenizers.audio import AudioTokenizer

RATE = 16_000


def made(codec: Codec, window_seconds: float = 1.0, batch: int = 1) -> AudioTokenizer:
    tokenizer = AudioTokenizer(codec, RATE)
    tokenizer.window_seconds, tokenizer.batch = window_seconds, batch
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> AudioTokenizer:
    torch.manual_seed(0)
    codec = Codec(FrameEncoder(8, 16, 2), FSQ(8, (8, 5, 5), 4, dropout=0.5), FrameDecoder(8, 16, 2, iterations=1))
    for parameter in codec.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made(codec)


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.9, 1.0, 1.02, 5.37])
@pytest.mark.parametrize("batch", [1, 3])
def test_windows_give_what_the_whole_gives(tokenizer: AudioTokenizer, seconds: float, batch: int) -> None:
    x = torch.from_numpy(noise(round(seconds * RATE)))
    tokenizer.batch = batch
    tokens = tokenizer.encode(x, RATE)
    padded = torch.nn.functional.pad(x, (0, -x.shape[1] % 320))[None]
    with torch.inference_mode():
        assert torch.equal(tokens.codes, tokenizer.codec.encode(padded))
        whole = tokenizer.codec.decode(tokens.codes)[0, :, : x.shape[1]]
    torch.testing.assert_close(tokenizer.decode(tokens), whole, atol=1e-5, rtol=0)


def test_a_codec_with_global_attention_takes_recordings_whole() -> None:
    torch.manual_seed(0)
    bottleneck = MultiCodebook(8, 2, 16, 4, AttentionProjection(8, 8, 2))
    codec = Codec(FrameEncoder(8, 16, 1), bottleneck, FrameDecoder(8, 16, 1, iterations=1))
    x = torch.from_numpy(noise(320 * 200))
    with torch.inference_mode():
        whole = codec.eval().encode(x[None])
    assert torch.equal(made(codec).encode(x, RATE).codes, whole)


@pytest.fixture(scope="module")
def continuous() -> AudioTokenizer:
    torch.manual_seed(0)
    codec = Codec(FrameEncoder(8, 16, 2), Tanh(8, 3), FrameDecoder(8, 16, 2, iterations=1))
    return made(codec)


def test_latents_and_back_are_the_codec_itself(continuous: AudioTokenizer) -> None:
    x = torch.from_numpy(noise(320 * 170, 2))
    latents = continuous.encode_latents(x, RATE)
    assert latents.values.shape == (2, 3, 170)
    assert latents.extent == AudioExtent(RATE, 320 * 170, 2)
    with torch.inference_mode():
        whole = continuous.codec(x.unsqueeze(1)).x[:, 0]
    torch.testing.assert_close(continuous.decode_latents(latents), whole, atol=1e-5, rtol=0)
    assert continuous.decode_latents(continuous.encode_latents(x, 44_100)).shape == x.shape


def test_latents_belong_to_their_tokenizer_and_length(tokenizer: AudioTokenizer, continuous: AudioTokenizer) -> None:
    with pytest.raises(InputError, match="expected a model with continuous latents, got custom with FSQ"):
        tokenizer.encode_latents(noise(1000), RATE)
    with pytest.raises(InputError, match="expected a model with codebooks, got custom"):
        continuous.encode(noise(1000), RATE)
    latents = continuous.encode_latents(noise(1000), RATE)
    values = latents.values
    for wrong in (values[:, :, :2], values[:, :2], values * torch.nan):
        with pytest.raises(InputError, match="expected"):
            continuous.decode_latents(dataclasses.replace(latents, values=wrong))
    for wrong in (values[:0], values[0], values.long()):
        with pytest.raises(InputError, match="expected latents as floats"):
            dataclasses.replace(latents, values=wrong)
    with pytest.raises(WrongModel):
        made(copy.deepcopy(tokenizer.codec)).decode_latents(latents)


@pytest.mark.parametrize("rate", [1000, 8000, 11127, 16_000, 44_100, 384_000])
@pytest.mark.parametrize("samples", [1, 2, 319, 5000])
def test_length_and_rate_come_back(tokenizer: AudioTokenizer, rate: int, samples: int) -> None:
    tokens = tokenizer.encode(noise(samples, 2), rate)
    assert tokens.extent == AudioExtent(rate, samples, 2)
    x = tokenizer.decode(tokens)
    assert x.shape == (2, samples)
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()


def test_channels_are_coded_one_by_one(tokenizer: AudioTokenizer) -> None:
    x = noise(8000, 3)
    tokens = tokenizer.encode(x, RATE)
    for channel in range(3):
        assert torch.equal(tokens[channel : channel + 1].codes, tokenizer.encode(x[channel], RATE).codes)


def test_a_batch_is_its_items(tokenizer: AudioTokenizer) -> None:
    signals = [noise(samples)[0] for samples in (100, 8000, 30_000)]
    for tokens, x in zip(tokenizer.encode_batch(signals, RATE), signals, strict=True):
        assert torch.equal(tokens.codes, tokenizer.encode(x, RATE).codes)


def test_a_file_is_its_samples(tokenizer: AudioTokenizer, tmp_path) -> None:  # type: ignore[no-untyped-def]
    x = np.round(noise(50_000, 2) * 32768) / 32768
    media.write(tmp_path / "x.wav", x.astype(np.float32), 22_050)
    tokens = tokenizer.encode_file(tmp_path / "x.wav")
    assert torch.equal(tokens.codes, tokenizer.encode(x.astype(np.float32), 22_050).codes)


def test_fewer_codebooks_are_a_prefix(tokenizer: AudioTokenizer) -> None:
    x = noise(8000)
    whole, half = tokenizer.encode(x, RATE), tokenizer.encode(x, RATE, codebooks=2)
    assert torch.equal(whole[:, :2].codes, half.codes)
    assert half.codebook_sizes == (200, 200)
    assert tokenizer.decode(half).shape == tokenizer.decode(whole).shape
    assert not torch.equal(tokenizer.decode(half), tokenizer.decode(whole))


def test_bitrates(tokenizer: AudioTokenizer) -> None:
    one = tokenizer.bitrate(1)
    assert one == 50 * 8 / 1000  # of a raw stream: 200 codes take 8 bits
    assert tokenizer.codebooks_for(2.5 * one) == 2
    assert tokenizer.codebooks_for(1e9) == 4
    with pytest.raises(InputError, match=r"one of 0\.40, 0\.80, 1\.20, 1\.60 kbit/s for custom, got 0\.1"):
        tokenizer.codebooks_for(0.1)
    x = noise(1000)
    assert tokenizer.encode(x, RATE, bitrate=2.5 * one).codes.shape[1] == 2
    with pytest.raises(InputError, match="got both"):
        tokenizer.encode(x, RATE, bitrate=2.5 * one, codebooks=2)


def test_a_bitrate_is_that_of_all_channels(tokenizer: AudioTokenizer) -> None:
    one, stereo = tokenizer.bitrate(1), noise(1000, channels=2)
    assert tokenizer.codebooks_for(2.5 * one, channels=2) == 1
    assert tokenizer.encode(stereo, RATE, bitrate=6.5 * one).codes.shape[:2] == (2, 3)
    mono, both = tokenizer.encode_batch([stereo[:1], stereo], RATE, bitrate=4.5 * one)
    assert (mono.codes.shape[1], both.codes.shape[1]) == (4, 2)
    assert tokenizer.estimate(10, channels=2, bitrate=4.5 * one) <= 4.5 * one * 1250 + 100
    with pytest.raises(InputError, match=r"0\.80, 1\.60, 2\.40, 3\.20 kbit/s for custom and 2 channels, got 0\.5"):
        tokenizer.encode(stereo, RATE, bitrate=0.5)


def test_the_bitrates_of_the_message_are_accepted() -> None:
    speech = narrows.load("speech")
    with pytest.raises(InputError, match="at least one of") as caught:
        speech.codebooks_for(0.01)
    listed = str(caught.value).split(" one of ")[1].split(" kbit/s")[0].split(", ")
    assert [speech.codebooks_for(float(rate)) for rate in listed] == list(range(1, 13))


@pytest.mark.parametrize("coded", [True, False])
def test_streams_give_the_tokens_back(tokenizer: AudioTokenizer, coded: bool) -> None:
    tokens = tokenizer.encode(noise(70_000, 2), 44_100)
    tokenizer.tables = tokenizer.fit_tables(tokens.codes[:1]) if coded else None
    data = tokenizer.compress(tokens)
    again = tokenizer.decompress(data)
    assert torch.equal(again.codes, tokens.codes)
    assert again.extent == tokens.extent
    assert torch.equal(tokenizer.decode(again), tokenizer.decode(tokens))
    half = tokenizer.compress(tokens[:, :2])
    assert torch.equal(tokenizer.decompress(half).codes, tokens.codes[:, :2])
    assert tokenizer.compress(tokenizer.encode(noise(70_000, 2), 44_100)) == data
    with pytest.raises(DamagedStream):
        tokenizer.decompress(data[:-1])
    tokenizer.tables = None


def test_what_is_whole_of_a_damaged_stream_is_recovered(tokenizer: AudioTokenizer) -> None:
    tokens = tokenizer.encode(noise(50 * RATE), RATE)
    data = bytearray(tokenizer.compress(tokens))
    assert tokenizer.recover(bytes(data))[1] == []
    data[len(data) // 2] ^= 1  # in the second of three chunks of 20 s
    again, spans = tokenizer.recover(bytes(data))
    assert spans == [(20.0, 40.0)]
    assert torch.equal(again.codes[..., :1000], tokens.codes[..., :1000])
    assert torch.equal(again.codes[..., 2000:], tokens.codes[..., 2000:])
    assert (again.codes[..., 1000:2000] == again.codes[..., 1000:1001]).all()
    assert tokenizer.decode(again).shape == (1, 50 * RATE)


def test_tokens_of_another_model_are_refused(tokenizer: AudioTokenizer) -> None:
    other = AudioTokenizer(copy.deepcopy(tokenizer.codec), RATE)
    with torch.no_grad():
        other.codec.encoder.out.bias.add_(1)
    tokens = other.encode(noise(1000), RATE)
    for call in (tokenizer.decode, tokenizer.compress, lambda tokens: tokenizer.decompress(other.compress(tokens))):
        with pytest.raises(WrongModel, match=rf"got data of custom \({other.fingerprint}\)"):
            call(tokens)


def test_one_thread_and_two_give_the_same_codes(tokenizer: AudioTokenizer) -> None:
    """Matrix products may round differently; a code changes only where two levels are a float tie."""
    x, threads = noise(30 * RATE), torch.get_num_threads()
    try:
        codes = []
        for count in (1, 2):
            torch.set_num_threads(count)
            codes.append(tokenizer.encode(x, RATE).codes)
    finally:
        torch.set_num_threads(threads)
    assert int((codes[0] != codes[1]).sum()) <= codes[0].numel() // 1000


@pytest.mark.parametrize(
    ("x", "rate", "message"),
    [
        (np.zeros(0, np.float32), RATE, "at least 1 sample, got 0"),
        (np.zeros((65, 5), np.float32), RATE, "expected 1 to 64 channels, got 65"),
        (np.zeros((1, 1, 5), np.float32), RATE, r"got shape \(1, 1, 5\)"),
        (np.zeros(5, np.int16), RATE, "divide int16 by 32768"),
        (torch.zeros(5, dtype=torch.int16), RATE, "divide int16 by 32768"),
        (np.zeros(5, bool), RATE, "got bool"),
        (torch.zeros(5, dtype=torch.complex64), RATE, "complex64"),
        (np.zeros(5, np.float32), 16000.5, "whole number of Hz, got 16000.5"),
        (np.zeros(5, np.float32), 999, "1000 to 384000 Hz"),
        (np.zeros(5, np.float32), 384_001, "1000 to 384000 Hz"),
        (np.array([0, 1, np.nan], np.float32), RATE, "NaN at sample 2 of channel 0"),
        (np.array([[0, 0, np.inf], [0, -np.inf, 0]], np.float32), RATE, "infinity at sample 1 of channel 1"),
    ],
)
def test_signals_that_cannot_be_coded_are_refused(
    tokenizer: AudioTokenizer, x: np.ndarray | torch.Tensor, rate: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.encode(x, rate)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.zeros((1, 5), np.float32)], "expected blocks of 10 samples in total, got 5"),
        (
            [np.zeros((1, 5), np.float32), np.zeros((2, 5), np.float32)],
            r"\(1, n\) float32, got float32 of shape \(2, 5\)",
        ),
        ([np.zeros((1, 10), np.float64)], "got float64"),
        ([np.zeros((1, 5), np.float32)] * 3, "expected blocks of 10 samples in total, got 15"),
        ([np.zeros((1, 7), np.float32), np.full((1, 3), np.inf, np.float32)], "infinity at sample 7 of channel 0"),
    ],
)
def test_blocks_that_cannot_be_coded_are_refused(
    tokenizer: AudioTokenizer, blocks: list[np.ndarray], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.encode_blocks(blocks, 10, RATE)


def test_other_weights_have_another_fingerprint(tokenizer: AudioTokenizer) -> None:
    codec = copy.deepcopy(tokenizer.codec)
    assert AudioTokenizer(codec, RATE).fingerprint == tokenizer.fingerprint
    codec.state_dict()["encoder.out.bias"][0] += 1
    with pytest.raises(WrongModel):
        AudioTokenizer(codec, RATE).decode(tokenizer.encode(noise(1000), RATE))


def test_losses_are_reported(tokenizer: AudioTokenizer) -> None:
    def info(rate: int, channels: int) -> media.AudioInfo:
        return media.AudioInfo(rate, channels, 10, "wav", "pcm_16")

    assert tokenizer.warnings(info(RATE, 1)) == tokenizer.warnings(info(8000, 1)) == []
    bandwidth, phases = tokenizer.warnings(info(44_100, 2))
    assert "up to 8 kHz, of 22.05" in bandwidth
    assert "2 channels" in phases


@pytest.mark.parametrize("samples", [1, 319, 16_000, 16_001, 33_000, 100_000])
@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("block", [700, 1 << 18])
def test_blocks_of_unknown_length_give_what_a_known_length_gives(
    tokenizer: AudioTokenizer, samples: int, rate: int, block: int
) -> None:
    x = noise(samples, 2)
    blocks = [x[:, i : i + block] for i in range(0, samples, block)]
    known, unknown = tokenizer.encode(x, rate), tokenizer.encode_blocks(iter(blocks), None, rate)
    assert unknown.extent == known.extent
    assert torch.equal(unknown.codes, known.codes)


def test_no_blocks_of_unknown_length_are_refused(tokenizer: AudioTokenizer) -> None:
    with pytest.raises(InputError, match="at least 1 sample"):
        tokenizer.encode_blocks([], None, RATE)


def test_a_file_of_unknown_length_is_decoded_once(tokenizer: AudioTokenizer, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import av

    x, path = noise(50_000), tmp_path / "x.m4a"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(x, format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    decoded, read = 0, media.AudioReader.read

    def counted(self: media.AudioReader, samples: int) -> np.ndarray:
        nonlocal decoded
        block = read(self, samples)
        decoded += block.shape[1]
        return block

    monkeypatch.setattr(media.AudioReader, "read", counted)
    tokens = tokenizer.encode_file(path)
    assert decoded == tokens.extent.size[0]
    whole = media.read(path)
    assert torch.equal(tokens.codes, tokenizer.encode(whole.samples, RATE).codes)


def test_stereo_is_coded_jointly_by_a_codec_of_two_channels() -> None:
    torch.manual_seed(0)
    bottleneck = FSQ(8, (8, 5, 5), 2)
    codec = Codec(FrameEncoder(8, 16, 1, channels=2), bottleneck, FrameDecoder(8, 16, 1, iterations=1, channels=2))
    tokenizer, x = made(codec), torch.from_numpy(noise(40_000, 2))
    tokens = tokenizer.encode(x, RATE)
    assert tokens.codes.shape == (1, 2, 125)
    with torch.inference_mode():
        whole = codec.eval()(x[None])
    assert torch.equal(tokens.codes, whole.quantized.codes)
    torch.testing.assert_close(tokenizer.decode(tokens), whole.x[0], atol=1e-5, rtol=0)
    for channels, groups in ((1, 1), (3, 2), (5, 3)):
        tokens = tokenizer.encode(noise(1000, channels), 22_050)
        assert tokens.codes.shape[0] == groups
        assert tokenizer.decode(tokens).shape == (channels, 1000)
        assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    assert tokenizer.encode(noise(1000, 4), RATE)[1:2].extent.channels == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_codes_of_the_cpu(tokenizer: AudioTokenizer) -> None:
    """Sums are ordered differently there; a code changes only where two levels are a float tie, decoded within 1e-3."""
    x = noise(30 * RATE, 2)
    tokens = tokenizer.encode(x, RATE)
    there = made(copy.deepcopy(tokenizer.codec), batch=8).to("cuda")
    assert int((there.encode(x, RATE).codes != tokens.codes).sum()) <= tokens.codes.numel() // 500
    torch.testing.assert_close(there.decode(tokens), tokenizer.decode(tokens), atol=1e-3, rtol=0)


def test_arrays_of_integers_as_floats_are_refused(tiny_checkpoint: Any) -> None:
    tokenizer = narrows.load(tiny_checkpoint())
    x = np.random.default_rng(0).normal(0, 0.2, 3000).astype(np.float32)
    with pytest.raises(InputError, match=r"expected samples up to 16.* integers of 16 bits, divide them by 32768"):
        tokenizer.encode(32767 * x, RATE)
    assert tokenizer.encode(10 * x, RATE).codes.shape[0] == 1
