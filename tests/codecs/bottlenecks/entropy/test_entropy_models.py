import copy
from math import floor
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from narrows.bitstream import FrequencyTables, IndexedTables, integer_frequencies
from narrows.bitstream.indexed import IndexedCoder, TableSymbols
from narrows.codecs import FactorizedPrior, MeanScaleHyperprior, ScaleHyperprior, SpaceChannelContext, SpaceTimeContext
from narrows.codecs.bottlenecks.entropy import base as entropy_model
from narrows.codecs.bottlenecks.entropy import space_channel as context_groups
from narrows.codecs.bottlenecks.entropy.base import EntropyModel, scales
from narrows.errors import DamagedStream, InputError


def models() -> list[EntropyModel]:
    torch.manual_seed(0)
    made = [
        SpaceChannelContext((3, 5), 2, (8, 6)),
        MeanScaleHyperprior(8, 16),
        ScaleHyperprior(8, 16),
        FactorizedPrior(8),
        SpaceTimeContext((3, 5), 2, (8, 6), 4),
    ]
    for parameter in (*made[0].parameters(), *made[-1].parameters()):
        if not parameter.abs().sum():
            torch.nn.init.normal_(parameter, std=0.2)
    return [model.eval() for model in made]


def coder(model: EntropyModel, quality: int = 0) -> IndexedCoder:
    tables = [np.append(0.7 ** abs(np.arange(size - 1) - (size // 2 - 1.0)), 1e-3) for size in model.table_sizes]
    indexed = IndexedTables(FrequencyTables(tuple(map(integer_frequencies, tables))), model.choose)
    return IndexedCoder(indexed, len(model.codebook_sizes), 4096, quality)


def noise(model: EntropyModel, batch: int, height: int, width: int) -> torch.Tensor:
    """Latents; of three frames for a model of video."""
    return torch.randn(batch, 8, *((3,) if model.axes == 3 else ()), height, width)


@pytest.fixture(params=models(), ids=lambda model: type(model).__name__)
def model(request: pytest.FixtureRequest) -> EntropyModel:
    return request.param


def test_decode_of_encode_is_forward(model: EntropyModel) -> None:
    y = 3 * noise(model, 2, 8, 12)
    out = model(y)
    assert out.codes is not None
    assert torch.equal(model.encode(y), out.codes)
    assert torch.equal(model.decode(out.codes), out.latents)
    most = 1.5 if isinstance(model, SpaceChannelContext) else 0.5  # which may round to the next but one
    assert (out.latents - y).abs().max() <= most + 1e-3
    assert out.bits.shape == (2,)


def test_latents_beyond_the_range_of_codes_are_decoded_as_encoded(model: EntropyModel) -> None:
    """Also where exact arithmetic clamps what they predict."""
    y = 2000 * noise(model, 1, 8, 12)
    out = model(y)
    assert out.codes is not None
    assert (int(out.codes.min()), int(out.codes.max())) == (1, 4095)
    assert torch.equal(model.encode(y), out.codes)
    assert torch.equal(model.decode(out.codes), out.latents)
    codes = out.codes.numpy()
    with torch.inference_mode():
        found, latents = coder(model).decompress_with_output(coder(model).compress(codes), codes.shape)
    assert np.array_equal(found, codes)
    assert torch.equal(latents, out.latents)


def test_bytes_do_not_depend_on_threads_or_autocast(model: EntropyModel) -> None:
    codes = model.encode(300 * noise(model, 1, 8, 12)).numpy()  # many escapes
    with torch.inference_mode():
        payload = coder(model).compress(codes)
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(2 if threads == 1 else 1)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found, latents = coder(model).decompress_with_output(payload, codes.shape)
        finally:
            torch.set_num_threads(threads)
    assert np.array_equal(found, codes)
    assert torch.equal(latents, model.decode(torch.from_numpy(codes)))


def test_codes_do_not_depend_on_the_batch(model: EntropyModel) -> None:
    y = 3 * noise(model, 3, 4, 4)
    assert torch.equal(torch.cat([model.encode(item[None]) for item in y]), model.encode(y))


def test_training_gives_bits_with_gradients(model: EntropyModel) -> None:
    y = noise(model, 2, 8, 8).requires_grad_()
    out = model.train()(y)
    model.eval()
    (out.bits.sum() + out.latents.square().sum()).backward()
    assert y.grad is not None
    assert y.grad.abs().sum() > 0
    assert all(p.grad is not None for name, p in model.named_parameters() if "inverse" not in name)


def test_damaged_payloads_raise(model: EntropyModel) -> None:
    codes = model.encode(3 * noise(model, 1, 4, 4)).numpy()
    with torch.inference_mode():
        payload = coder(model).compress(codes)
        with pytest.raises(DamagedStream):
            coder(model).decompress(payload + 400 * b"\1", codes.shape)
        with pytest.raises(DamagedStream):
            coder(model).decompress(payload + b"\0", codes.shape)


def test_wrong_shapes_and_quality_indices_raise(model: EntropyModel) -> None:
    with pytest.raises(InputError, match="quality"):
        model.encode(0 * noise(model, 1, 4, 4), 99)
    codes = model.encode(0 * noise(model, 2, 4, 4))
    for wrong in (torch.tensor([0, 1, 2]), torch.zeros(2, 1)):
        for call in (model, copy.deepcopy(model).train(), model.encode):
            with pytest.raises(InputError, match="expected a quality_index for each of 2 items"):
                call(0 * noise(model, 2, 4, 4), wrong)
        with pytest.raises(InputError, match="expected a quality_index for each of 2 items"):
            model.decode(codes, wrong)
    if model.multiple > 1:
        with pytest.raises(InputError, match="multiples"):
            model.encode(0 * noise(model, 1, 5, 4))


def test_latents_of_other_axes_raise(model: EntropyModel) -> None:
    wrong = torch.zeros(1, 8, 4) if model.axes == 2 else torch.zeros(1, 8, 4, 4)
    for call in (model, copy.deepcopy(model).train(), model.encode):
        with pytest.raises(InputError, match=r"expected latents \(B, 8, (T, )?h, w\), got"):
            call(wrong)


def test_higher_quality_has_more_bits_and_less_error() -> None:
    model = models()[0]
    assert isinstance(model, SpaceChannelContext)
    with torch.no_grad():
        model.root_gain.copy_(torch.linspace(1, 3, 8)[:, None].expand_as(model.root_gain))
        model.inverse.copy_(model.root_gain.square().reciprocal())
    y = torch.randn(1, 8, 8, 8)
    low, high = model(y, 0), model(y, 56)
    assert high.bits > low.bits
    assert (high.latents - y).abs().max() < (low.latents - y).abs().max()


def test_estimated_bits_are_those_of_the_stream() -> None:
    """What a stream takes is within 1 % of the estimate where the tables are those the estimate assumes."""
    model = FactorizedPrior(4).eval()
    y = 2 * torch.randn(1, 4, 64, 64)
    codes = model.encode(y).numpy()
    symbols = torch.arange(-31, 32).float().view(1, 1, 1, -1).expand(1, 4, 1, -1)
    with torch.no_grad():
        p = model.density(symbols)[0, :, 0].numpy()
    tables = FrequencyTables(tuple(integer_frequencies(np.append(row, max(1e-6, 1 - row.sum()))) for row in p))
    with torch.inference_mode():
        payload = IndexedCoder(IndexedTables(tables, model.choose), 4, 4096, 0).compress(codes)
        bits = float(model(y).bits)
    assert abs(8 * len(payload) / bits - 1) < 0.01


def test_rdo_rounding_rounds_expensive_symbols_towards_zero() -> None:
    model = SpaceChannelContext((4,), 0, (8,)).eval()
    y = 3 * torch.randn(1, 4, 16, 16)
    free = model.encode(y, 0, torch.zeros(64, 9)) - 2048
    assert torch.equal(free, model.targets(y, torch.zeros(1))[0].round().long())
    bits = 2.0 * torch.arange(9).expand(64, 9)  # 2 for each step away from zero: 0.2 squared steps
    dear = model.encode(y, 0, bits) - 2048
    distance = (y - free).abs() * (y.abs() < free.abs())  # of what was rounded away from zero
    assert torch.equal(dear.abs(), free.abs() - ((distance > 0.4) & (free.abs() <= 8)).long())  # d² + 0.2 > (1 - d)²


def test_training_mode_changes_no_codes(model: EntropyModel) -> None:
    y = 3 * noise(model, 1, 8, 12)
    codes, latents = model.encode(y), model.decode(model.encode(y))
    payload = coder(model).compress(codes.numpy())
    model.train()
    try:
        assert torch.equal(model.encode(y), codes)
        assert torch.equal(model.decode(codes), latents)
        with torch.no_grad():
            assert coder(model).compress(codes.numpy()) == payload
            assert np.array_equal(coder(model).decompress(payload, codes.shape), codes)
    finally:
        model.eval()


def test_gradients_in_eval_mode_are_straight_through(model: EntropyModel) -> None:
    y = (3 * noise(model, 1, 8, 12)).requires_grad_()
    out, weight = model(y), noise(model, 1, 8, 12)
    (out.latents * weight).sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, weight)
    assert not out.bits.requires_grad
    assert out.codes is not None
    assert torch.equal(out.latents, model.decode(out.codes))


def test_fractions_of_a_quality_are_refused_or_interpolated(model: EntropyModel) -> None:
    y = 3 * noise(model, 1, 8, 12)
    for wrong in (3.9, True, "4", model.qualities, -1):
        for call in (model, model.encode, copy.deepcopy(model).train()):
            with pytest.raises(InputError, match="expected a quality_index from 0 to"):
                call(y, wrong)
    if isinstance(model, SpaceChannelContext):
        model = copy.deepcopy(model)
        torch.nn.init.uniform_(model.root_gain, 0.5, 2.0)
        low, between, high = (model.targets(y, torch.tensor([index]))[0] for index in (3.0, 3.9, 4.0))
        assert not torch.equal(between, low)
        assert not torch.equal(between, high)


def test_codes_have_one_form() -> None:
    """An escape of a code that its table has, and a symbol outside of the codebook, are damage."""
    table = integer_frequencies([1, 2, 8, 2, 1, 1])  # codes -2 to 2, and the escape

    def choose(shape: tuple[int, int, int], index: int) -> Any:
        yield (slice(None), slice(0, 1)), np.zeros((1, 1, *shape[1:]), np.int64)

    for size, symbol, escaped in ((4096, 5, 2048), (4096, 5, 2050), (4, 4, None), (2, 0, None)):
        indexed = IndexedCoder(IndexedTables(FrequencyTables((table,)), choose), 1, size, 0)
        parts = [TableSymbols(0, np.array([2, symbol], np.int32))]
        parts += [] if escaped is None else [TableSymbols(-1, np.array([escaped], np.int32))]
        with patch.object(IndexedCoder, "symbols_by_table", lambda self, codes, parts=parts: iter(parts)):
            payload = indexed.compress(np.zeros((1, 1, 1, 2), np.int16))
        with pytest.raises(DamagedStream, match="expected codes as an encoder writes them"):
            indexed.decompress(payload, (1, 1, 1, 2))


@pytest.mark.parametrize("off", [1 - 1e-12, 1 + 1e-12])
def test_inexact_constants_choose_the_same_tables(off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Powers and logarithms differ in their last bits from library to library."""
    known, hyperpriors = scales(), ScaleHyperprior(8, 16)
    borders = np.sqrt(known[:-1] * known[1:])
    sizes = entropy_model.scale_table_sizes()
    for border, index in zip(borders, range(63), strict=True):
        below = floor(border * 2**24) / 2**24  # scales of hyperpriors are multiples of this
        near = torch.tensor([below, below + 2.0**-24], dtype=torch.float64) * off
        assert hyperpriors._table(near).tolist() == [index, index + 1]
        below = floor(np.log2(border) * 2**27) / 2**27  # logarithms of context groups, of stored weights
        near = torch.tensor([below, below + 2.0**-27], dtype=torch.float64) * off
        assert context_groups._table(near).tolist() == [index, index + 1]
    monkeypatch.setattr(entropy_model, "scales", lambda: known * off)
    assert entropy_model.scale_table_sizes() == sizes


def test_too_many_channels_raise() -> None:
    with pytest.raises(InputError, match=r"channels to be .* got 131072"):
        SpaceChannelContext((65536, 65536), 0, (1, 1))


def test_the_first_latent_frame_does_not_depend_on_those_after_it() -> None:
    """And each one depends on those before it, so that chunks are coded alone, and long clips frame after frame."""
    model = models()[-1]
    y = 3 * noise(model, 1, 4, 6)
    codes = model.encode(y)
    for count in (1, 2):
        assert torch.equal(model.encode(y[:, :, :count]), codes[:, :, :count])
        assert torch.equal(model.decode(codes[:, :, :count]), model.decode(codes)[:, :, :count])
    assert not torch.equal(model.encode(y[:, :, 1:]), codes[:, :, 1:])


def test_a_still_clip_costs_less_after_its_first_latent_frame() -> None:
    model = SpaceTimeContext((3, 5), 1, (8, 6), 4).eval()
    model.initialize_persistence(torch.full((8,), 0.99))
    with torch.no_grad():
        model.log_scale.fill_(2.0)
    y = (4 * torch.randn(1, 8, 1, 8, 8)).expand(-1, -1, 4, -1, -1)
    bits = [float(model(y[:, :, :count]).bits) for count in (1, 2, 3, 4)]
    assert bits[0] > 1.4 * (bits[1] - bits[0]) > 0
    assert bits[3] - bits[2] < 1.2 * (bits[1] - bits[0])
    assert (model(y).latents - y).abs().max() <= 1.5
