"""Facts about a tokenizer, for lists and cards."""

import math
from typing import Any

from narrows.bitstream.radices import short_sizes
from narrows.codecs.base import Reach
from narrows.tokenizers.tokenizer import Tokenizer


def facts_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """Facts that follow from the parts of a tokenizer alone, ready for JSON.

    Rates are nominal, with all codebooks and for one channel group. `reach` has the positions of the latent grid before
    and after its own one that the encoder and the decoder see, for each axis; None for an axis that is seen whole.
    """
    codec, bottleneck = tokenizer.codec, tokenizer.codec.bottleneck
    sizes = bottleneck.codebook_sizes
    facts: dict[str, Any] = {
        "medium": tokenizer.medium.name,
        "channels": codec.channels,
        "stride": list(codec.stride),
        "codebooks": len(sizes),
        "codebook_sizes": short_sizes(sizes),
        "parameters": sum(weights.numel() for weights in codec.parameters()),
        "reach": [[_listed(axis) for axis in network.reach] for network in (codec.encoder, codec.decoder)],
    }
    if tokenizer.sample_rate is not None:
        per_second = tokenizer.positions_per_amount
        bits = sum(map(math.log2, sizes))
        facts |= {
            "sample_rate": tokenizer.sample_rate,
            "frame_rate": round(per_second, 3),
            "tokens_per_second": round(len(sizes) * per_second, 2),
            "kbps": round(bits * per_second / 1000, 3),
        }
    return facts


def _listed(axis: Reach) -> list[int] | None:
    return None if axis is None else list(axis)
