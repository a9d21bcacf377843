import math
import pickle
from dataclasses import replace

import pytest
import torch

from narrows.bitstream import AudioExtent, ImageExtent
from narrows.errors import InputError
from narrows.tokenizers.tokens import Latents, Tokens


def tokens(channels: int = 2) -> Tokens:
    codes = torch.arange(channels * 3 * 5).view(channels, 3, 5) % 8
    return Tokens(codes, ((8,), (8,), (4, 2)), AudioExtent(16_000, 1600, channels), "m", "00" * 8)


def test_slices_keep_codebooks_and_channels() -> None:
    assert torch.equal(tokens()[:, :2].codes, tokens().codes[:, :2])
    assert tokens()[:, :2].codebook_sizes == (8, 8)
    assert torch.equal(tokens()[1:].codes, tokens().codes[1:])
    assert tokens()[1:].extent.channels == 1


def test_slices_count_the_channels_of_their_groups() -> None:
    """Five channels in groups of two: the last group has one."""
    five = replace(tokens(3), extent=AudioExtent(16_000, 1600, 5))
    counts = [five[index].extent.channels for index in (slice(0, 1), slice(2, 3), slice(1, 3), slice(None, None, 2))]
    assert counts == [2, 1, 3, 3]


def test_equal_tokens_are_equal() -> None:
    assert tokens() == tokens()
    assert hash(tokens()) == hash(tokens())
    assert tokens() != tokens()[:1]
    assert tokens() != replace(tokens(), codes=tokens().codes + 1)
    assert tokens() != replace(tokens(), model="n")
    assert tokens() != 1


def test_chunks_stay_within_the_format() -> None:
    """64 channels of 40 codebooks: 20 seconds would be more symbols than a chunk may hold."""
    radices, extent = ((4,),) * 40, AudioExtent(16_000, 16_000 * 20, 64)
    many = Tokens(torch.zeros(64, 40, 1000, dtype=torch.int64), radices, extent, "m", "00" * 8)
    assert Tokens.decompress(many.compress()) == many


@pytest.mark.parametrize(
    "index", [0, (0, slice(None)), (slice(None), slice(1, 3)), (slice(None), slice(None, None, 2))]
)
def test_other_indices_are_refused(index: object) -> None:
    with pytest.raises(InputError, match="two slices"):
        tokens()[index]


def test_an_empty_slice_is_refused() -> None:
    with pytest.raises(InputError):
        tokens()[:, :0]


def test_nominal_bits() -> None:
    assert tokens().nominal_bits == pytest.approx(2 * 5 * 3 * math.log2(8))


def test_bytes_and_back() -> None:
    given = tokens()
    again = Tokens.decompress(given.compress())
    assert torch.equal(again.codes, given.codes)
    assert (again.radices, again.extent, again.model) == (given.radices, given.extent, given.model)


@pytest.mark.parametrize(
    "codes", [torch.zeros(2, 3), torch.zeros(2, 3, 0).long(), torch.zeros(2, 3, 4), torch.zeros(3, 3, 4).long()]
)
def test_codes_that_do_not_fit_are_refused(codes: torch.Tensor) -> None:
    with pytest.raises(InputError, match="expected codes as integers"):
        Tokens(codes, ((8,),) * 3, AudioExtent(16_000, 1600, 2), "m", "00" * 8)


@pytest.mark.parametrize(
    "changed",
    [
        *({"codes": tokens().codes.to(dtype)} for dtype in (torch.bool, torch.uint16, torch.complex64, torch.float32)),
        {"codes": tokens().codes.numpy()},
        {"codes": [1, 2]},
        {"radices": None},
        {"extent": None},
        {"extent": 1600},
    ],
    ids=str,
)
def test_what_are_no_codes_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"expected (codes as integers|radices|the extent)"):
        replace(tokens(), **changed)


@pytest.mark.parametrize("changed", [{"fingerprint": "zz"}, {"fingerprint": None}, {"model": None}])
def test_tokens_of_nothing_are_not_compressed(changed: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected a"):
        replace(tokens(), **changed).compress()


@pytest.mark.parametrize("values", [torch.zeros(1, 3, 5, dtype=torch.int64), [1.0], None])
def test_what_are_no_latents_is_refused(values: object) -> None:
    with pytest.raises(InputError, match="expected latents as floats"):
        Latents(values, AudioExtent(16_000, 1600, 1), "m", "00" * 8)  # type: ignore[arg-type]


def test_attachments_travel_in_the_stream() -> None:
    plain = Tokens(torch.zeros(1, 1, 3, 4, dtype=torch.long), ((16,),), ImageExtent(3, 4, 3), "m", "00" * 8)
    with_alpha = replace(plain, attachments={"alpha": b"plane"})
    assert Tokens.decompress(with_alpha.compress()) == with_alpha
    assert with_alpha != plain
    assert with_alpha[:, :1].attachments == with_alpha.to("cpu").attachments == {"alpha": b"plane"}
    assert pickle.loads(pickle.dumps(with_alpha)) == with_alpha
    with pytest.raises(InputError, match=r"expected attachments from alpha, audio, times, scales, got \['other'\]"):
        replace(plain, attachments={"other": b"1"}).compress()


def test_tokens_and_latents_show_themselves_on_one_line() -> None:
    audio = Tokens(torch.zeros(1, 2, 3, dtype=torch.int64), ((4,), (4,)), AudioExtent(8000, 900, 1), "m", "00")
    assert repr(audio) == "Tokens(0.11 s by m, codes (1, 2, 3))"
    image = Tokens(
        torch.zeros(1, 1, 2, 3, dtype=torch.int64), ((4,),), ImageExtent(20, 30, 3), "m", "00", 5, {"alpha": b"abc"}
    )
    assert repr(image) == "Tokens(30 × 20 by m, codes (1, 1, 2, 3), quality index 5, with alpha (3 bytes))"
    assert repr(Latents(torch.zeros(1, 8, 3), audio.extent, "m", "00")) == "Latents(0.11 s by m, values (1, 8, 3))"


def test_names_that_cannot_be_printed_are_escaped() -> None:
    named = replace(tokens(), model="a\x1b[2J\n" + "b" * 999)
    assert r"by a\x1b[2J\nbbb" in repr(named)
    assert len(repr(named)) < 200
