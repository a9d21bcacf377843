"""Transposed convolutions that look back only, with a state.

position      0       1       2
stride 2    ├─┬─┬─┬─┤                 a kernel of 4 gives outputs of this and the next position;
kernel 4        ├─┬─┬─┬─┤             the sum of what overlaps is complete once the next position is there
outputs     0 1 2 3 4 5
"""

from torch import Tensor, nn

from narrows.codecs.base import State
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.causal import TIME, Causal, Past
from narrows.errors import InputError


class CausalTransposedConv(Causal):
    """(B, C, F) to (B, C', F × stride): what a transposed convolution makes, without its end.

    Args:
        inputs: C.
        outputs: C'.
        kernel: size, not below the stride.
        stride: outputs per position.
        groups: of channels.
        bias: whether there is one.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, *, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, inputs=inputs, outputs=outputs, stride=stride, groups=groups)
        check_integers(stride, MAX_SIZE, kernel=kernel)
        made = nn.ConvTranspose1d(inputs, outputs, kernel, stride, groups=groups, bias=bias)
        self.weight, self.bias = made.weight, made.bias
        self.stride, self.groups, self.keep = stride, groups, kernel - stride

    def step(self, x: Tensor, state: State) -> tuple[Tensor, Past]:
        """The next n positions. The state is what they add to later outputs."""
        if not isinstance(state, Past):
            raise InputError(f"expected the state of a convolution, got {type(state).__name__}")
        out = nn.functional.conv_transpose1d(x, self.weight, None, self.stride, groups=self.groups)
        if state.kept is not None:
            if state.kept.shape[0] != len(x):
                raise InputError(f"expected the batch of earlier steps {state.kept.shape[0]}, got {len(x)}")
            out = out + nn.functional.pad(state.kept, (0, out.shape[TIME] - self.keep))
        done = x.shape[TIME] * self.stride
        kept = out[:, :, done:]
        out = out[:, :, :done]
        if self.bias is not None:
            out = out + self.bias[:, None]
        return out, Past(kept if self.training else kept.clone())
