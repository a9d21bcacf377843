"""A transformer that looks back within a window, with a state: the one of Mimi (arXiv 2410.00037, section 3.3.1).

    x ─┬─ norm ─ attention ─ scale ─ + ─┬─ norm ─ linear ─ GELU ─ linear ─ scale ─ + ─▶ per layer
       └─────────────────────────────┘  └────────────────────────────────────────┘

    window 4, two new positions:  keys kept  k k k │ q q   the first new position sees k k k q, the second k k q q

The state of a layer is the keys and values of the last window - 1 positions, so that every key that a new position may
see is there, however many arrive at once. Keys are kept before the rotation that encodes positions, and all are rotated
relative to the first new position: a stream of any length has the same precision, and its state knows no positions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narrows.codecs.base import State
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.causal import Causal
from narrows.errors import InputError

PERIOD = 10_000.0  # of the slowest rotation, in radians per position: 2 pi times this
EPSILON = 1e-5  # of the norms
SCALE = 0.01  # of the outputs of blocks, at the start of training


@dataclass(frozen=True)
class PastKeys(State):
    """Keys and values (B, heads, n, d) of the last positions; None before the first step."""

    keys: Tensor | None = None
    values: Tensor | None = None


class WindowedAttention(Causal):
    """(B, C, T) to the same: attention of each position over itself and those before it in a window.

    Positions are encoded by rotation (Su et al., arXiv 2104.09864) of neighbouring pairs of channels.

    Args:
        channels: C.
        heads: number of heads; C is a multiple of twice this.
        window: positions that one sees, itself included.
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels, heads=heads, window=window)
        if channels % (2 * heads):
            raise InputError(f"expected channels that are a multiple of 2 × heads = {2 * heads}, got {channels}")
        self.heads, self.window = heads, window
        self.in_proj = nn.Linear(channels, 3 * channels, bias=False)
        self.out_proj = nn.Linear(channels, channels, bias=False)

    def start(self, batch: int) -> PastKeys:
        """No keys."""
        return PastKeys()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, PastKeys]:
        """The next positions."""
        if not isinstance(state, PastKeys):
            raise InputError(f"expected the state of an attention, got {type(state).__name__}")
        projected = self.in_proj(x.transpose(1, 2)).unflatten(2, (3, self.heads, -1))
        queries, keys, values = projected.permute(2, 0, 3, 1, 4)  # each (B, heads, n, d)
        if state.keys is not None and state.values is not None:
            if len(state.keys) != len(x):
                raise InputError(f"expected the batch of earlier steps {len(state.keys)}, got {len(x)}")
            keys, values = torch.cat((state.keys, keys), 2), torch.cat((state.values, values), 2)
        new, count = queries.shape[2], keys.shape[2]
        place = torch.arange(new - count, new, device=x.device)  # of the keys, relative to the first new position
        distance = place[-new:, None] - place
        mask = (distance >= 0) & (distance < self.window)
        out = nn.functional.scaled_dot_product_attention(
            rotated(queries, place[-new:]), rotated(keys, place), values, mask
        )
        kept = [part[:, :, max(0, count + 1 - self.window) :] for part in (keys, values)]
        if not self.training:
            kept = [part.clone() for part in kept]
        return self.out_proj(out.transpose(1, 2).flatten(2)).transpose(1, 2), PastKeys(*kept)


def rotated(x: Tensor, places: Tensor) -> Tensor:
    """x (B, heads, n, d), in which pairs of neighbouring channels are rotated by their places (n,)."""
    pairs = x.unflatten(-1, (-1, 2))
    precise = torch.float32 if x.device.type == "mps" else torch.float64  # which MPS has not
    exponents = torch.arange(pairs.shape[-2], device=x.device, dtype=precise) / pairs.shape[-2]
    angles = places[:, None] * PERIOD**-exponents
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    real, imaginary = pairs.unbind(-1)
    return torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), -1).flatten(-2)


class TransformerLayer(Causal):
    """(B, C, T) to the same: attention and two linear maps, each after a norm, scaled and added to its input.

    Args:
        channels: C.
        heads: of the attention.
        hidden: channels between the linear maps.
        window: of the attention.
    """

    def __init__(self, channels: int, heads: int, hidden: int, window: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, hidden=hidden)
        self.norm1, self.norm2 = nn.LayerNorm(channels, EPSILON), nn.LayerNorm(channels, EPSILON)
        self.self_attn = WindowedAttention(channels, heads, window)
        self.linear1 = nn.Linear(channels, hidden, bias=False)
        self.linear2 = nn.Linear(hidden, channels, bias=False)
        self.scale1, self.scale2 = (nn.Parameter(torch.full((channels,), SCALE)) for _ in range(2))

    def start(self, batch: int) -> PastKeys:
        """No keys."""
        return PastKeys()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The next positions."""
        attended, state = self.self_attn.step(self.norm1(x.transpose(1, 2)).transpose(1, 2), state)
        x = x + self.scale1[:, None] * attended
        h = nn.functional.gelu(self.linear1(self.norm2(x.transpose(1, 2))))
        return x + self.scale2[:, None] * self.linear2(h).transpose(1, 2), state
