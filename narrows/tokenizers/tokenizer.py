"""What tokenizers of all media share: a codec with a name, a fingerprint and tables, and the way to bytes."""

import hashlib
import json
from typing import Self

import torch
from torch import Tensor

from narrows.bitstream import Prior, Tables, read_header, split, stream_sizes
from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.codec import Codec
from narrows.errors import InputError, WrongModel
from narrows.parts import spec
from narrows.tokenizers.tokens import Tokens


class Tokenizer:
    """A codec and what tells it from others.

    tables: for entropy coding. fingerprint: 16 hexadecimal digits that tell these weights from others; of the weights
    unless given.
    """

    def __init__(self, codec: Codec, name: str, fingerprint: str | None, tables: Tables | None) -> None:
        self.codec, self.name, self.tables = codec.eval(), name, tables
        self.fingerprint = fingerprint or weights_fingerprint(codec)

    def to(self, device: torch.device | str) -> Self:
        """Move the codec, and with it all computation, to another device."""
        self.codec.to(device)
        return self

    @property
    def codebooks(self) -> int:
        """K, all codebooks."""
        return len(self.codec.bottleneck.codebook_sizes)

    @property
    def device(self) -> torch.device:
        """Where the codec's weights are, and where it computes."""
        return next(self.codec.parameters()).device

    @property
    def continuous(self) -> Continuous:
        """The bottleneck, where it gives real numbers. Raises InputError for another."""
        bottleneck = self.codec.bottleneck
        if not isinstance(bottleneck, Continuous):
            raise InputError(
                f"{self.name} has codes, no real numbers ({type(bottleneck).__name__}); use encode, decode"
            )
        return bottleneck

    @property
    def prior(self) -> Tables | Prior | None:
        """What the entropy coder needs: tables, or tables with the model that chooses among them."""
        bottleneck = self.codec.bottleneck
        if self.tables is None or not isinstance(bottleneck, EntropyModel):
            return self.tables
        return Prior(self.tables, bottleneck.choose)

    def tables_for(self, codes: Tensor) -> Tables:
        """Frequency tables for entropy coding, fitted on codes (N, K, *grid) of training data."""
        radices = self.codec.bottleneck.radices
        return Tables.fit(split(codes.cpu().numpy(), radices), stream_sizes(radices))

    @torch.inference_mode()
    def compress(self, tokens: Tokens) -> bytes:
        """Tokens to an .nrw stream, entropy-coded where the model has tables. Raises WrongModel for foreign tokens."""
        self.check_model(tokens.model, tokens.fingerprint)
        return tokens.compress(self.prior)

    @torch.inference_mode()
    def decompress(self, data: bytes) -> Tokens:
        """An .nrw stream to Tokens. Raises WrongModel, and what `Tokens.decompress` raises."""
        header = read_header(data)
        self.check_model(header.model, header.fingerprint.hex())
        return Tokens.decompress(data, self.prior)

    def check_codebooks(self, codebooks: int | None) -> int:
        """The number of codebooks, all of them for None. Raises InputError unless so many can be decoded."""
        books, prefixes = self.codebooks if codebooks is None else codebooks, self.codec.bottleneck.prefixes
        if books not in prefixes:
            raise InputError(f"{books} codebooks asked for; {self.name} offers {', '.join(map(str, prefixes))}")
        return books

    def check_model(self, model: str, fingerprint: str) -> None:
        """Raise WrongModel unless this is the model, and these are the weights."""
        if (model, fingerprint) != (self.name, self.fingerprint):
            given, wanted = f"model {model} ({fingerprint})", f"{self.name} ({self.fingerprint})"
            raise WrongModel(f"made with {given}, this is {wanted}; load the model that it was made with")


def weights_fingerprint(codec: Codec) -> str:
    """16 hexadecimal digits of the SHA-256 over a codec's description and weights."""
    digest = hashlib.sha256(json.dumps(spec(codec), sort_keys=True).encode())
    for name, tensor in sorted(codec.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
