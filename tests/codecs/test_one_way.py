import pytest
import torch

from narrows.codecs import VQ, Codec, ConvDecoder, ConvEncoder, EMACodebook, NoDecoder, NoEncoder
from narrows.errors import InputError
from narrows.parts import build, spec


@pytest.fixture
def bottleneck() -> VQ:
    return VQ(8, EMACodebook(4, 16))


def test_a_model_without_an_encoder_only_decodes(bottleneck: VQ) -> None:
    decoder = ConvDecoder(8, 6)
    codec = Codec(NoEncoder(decoder.channels, 8, decoder.stride), bottleneck, decoder)
    assert codec.decode(torch.zeros(1, 1, 2, 3, dtype=torch.int64)).shape[1] == decoder.channels
    assert spec(build(spec(codec))) == spec(codec)
    with pytest.raises(InputError, match="no encoder"):
        codec.encode(torch.zeros(1, decoder.channels, *decoder.stride))


def test_a_model_without_a_decoder_only_encodes(bottleneck: VQ) -> None:
    encoder = ConvEncoder(8, 6)
    codec = Codec(encoder, bottleneck, NoDecoder(encoder.channels, 8, encoder.stride))
    codes = codec.encode(torch.zeros(1, encoder.channels, *encoder.stride))
    assert codes.shape == (1, 1, 1, 1)
    assert codec.bounded == Codec(encoder, bottleneck, ConvDecoder(8, 6)).bounded
    with pytest.raises(InputError, match="no decoder"):
        codec.decode(codes)
