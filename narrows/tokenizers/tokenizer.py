"""What tokenizers of all media share: a codec with a name, a fingerprint and tables, and the way to bytes."""

import hashlib
import json

import torch

from narrows.bitstream import Prior, Tables, read_header
from narrows.codecs.bottlenecks.entropy_model import EntropyModel
from narrows.codecs.codec import Codec
from narrows.errors import WrongModel
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

    @property
    def device(self) -> torch.device:
        """Where the codec's weights are, and where it computes."""
        return next(self.codec.parameters()).device

    @property
    def prior(self) -> Tables | Prior | None:
        """What the entropy coder needs: tables, or tables with the model that chooses among them."""
        bottleneck = self.codec.bottleneck
        if self.tables is None or not isinstance(bottleneck, EntropyModel):
            return self.tables
        return Prior(self.tables, bottleneck.choose)

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
