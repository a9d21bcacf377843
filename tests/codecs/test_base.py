"""What encoders, bottlenecks and decoders must declare is checked when they are built."""

from typing import Any

import pytest
import torch
from torch import Tensor

from narrows import parts
from narrows.codecs import Bottleneck, Codec, Decoder, Encoder, Quantized
from narrows.errors import InputError


class Own(Bottleneck):
    """A bottleneck that declares what a test gives."""

    def __init__(self, **declared: Any) -> None:
        super().__init__()
        for name, value in declared.items():
            setattr(self, name, value)

    def forward(self, z: Tensor) -> Quantized:
        return Quantized(z)

    def encode(self, z: Tensor) -> Tensor:
        return z.long()

    def decode(self, codes: Tensor) -> Tensor:
        return codes.float()


class OwnEncoder(Encoder):
    channels, dim, stride, reach = 1, 2, (4,), (None,)

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (-1, 4))[:, 0, :, :2].mT


class OwnDecoder(Decoder):
    channels, dim, stride, reach = 1, 2, (4,), (None,)

    def forward(self, z: Tensor, quality_index: Any = None) -> Tensor:
        return z.repeat_interleave(4, 2)[:, :1]


WHOLE = {"dim": 2, "codebook_sizes": (4, 4, 2), "prefixes": (1, 3)}


@pytest.mark.parametrize(
    "change",
    [{}, {"prefixes": (3,)}, {"codebook_sizes": (), "prefixes": ()}, {"codebook_sizes": (5,), "prefixes": (1,)}],
)
def test_complete_declarations(change) -> None:
    Own(**WHOLE | change).check_declarations()
    Codec(OwnEncoder(), Own(**WHOLE | change), OwnDecoder())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": None}, r"expected Own\.dim to be an integer from 1, got nothing; set it in __init__"),
        ({"dim": 2.0}, "got 2.0"),
        ({"codebook_sizes": None}, r"codebook_sizes to be a tuple of the size of each codebook, .*got nothing"),
        ({"codebook_sizes": [4, 4]}, r"got \[4, 4\]"),
        ({"codebook_sizes": 4}, "got 4"),
        ({"codebook_sizes": (4, 0)}, r"got \(4, 0\)"),
        (
            {"prefixes": None},
            r"Own\.prefixes to be \(3,\), or a tuple of increasing numbers of codebooks that ends with 3, got nothing",
        ),
        ({"prefixes": ()}, r"got \(\)"),
        ({"prefixes": (1, 2)}, r"got \(1, 2\)"),
        ({"prefixes": (2, 1, 3)}, r"got \(2, 1, 3\)"),
        ({"prefixes": (0, 3)}, r"got \(0, 3\)"),
        ({"codebook_sizes": (), "prefixes": (1,)}, r"prefixes to be \(\), got \(1,\)"),
    ],
)
def test_incomplete_declarations_of_a_bottleneck(change, message) -> None:
    declared = {name: value for name, value in (WHOLE | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        Codec(OwnEncoder(), Own(**declared), OwnDecoder())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", None),
        ("channels", 0),
        ("stride", 4),
        ("stride", ()),
        ("stride", (2.0,)),
        ("reach", None),
        ("reach", (None, None)),
        ("reach", ((1,),)),
        ("reach", ((-1, 0),)),
        ("reach", (3,)),
    ],
)
def test_incomplete_declarations_of_networks(name, value) -> None:
    for base in (OwnEncoder, OwnDecoder):
        broken = type("Broken", (base,), {name: value})
        with pytest.raises(InputError, match=rf"expected Broken\.{name} to be .*; set it in __init__"):
            broken().check_declarations()


def test_a_registered_part_is_checked_when_it_is_built(monkeypatch) -> None:
    monkeypatch.setattr(parts, "_PARTS", dict(parts._PARTS))

    class Incomplete(Own):
        def __init__(self, dim: int = 2) -> None:
            super().__init__(dim=dim, codebook_sizes=(4,))

    registered = parts.part("incomplete-for-a-test")(Incomplete)
    with pytest.raises(InputError, match=r"Incomplete\.prefixes"):
        registered(3)


def test_a_codec_of_own_networks_works() -> None:
    codec = Codec(OwnEncoder(), Own(**WHOLE), OwnDecoder())
    assert codec(torch.ones(1, 1, 8)).x.shape == (1, 1, 8)
