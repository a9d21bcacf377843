import copy
import json

import pytest
import torch

from narrows import codecs, parts
from narrows.errors import PartError
from narrows.parts import build, names, part, spec


def small_codec(seed: int = 0) -> codecs.Codec:
    torch.manual_seed(seed)
    return codecs.Codec(
        codecs.FrameEncoder(8, width=16, depth=1),
        codecs.FSQ(8, (4, 3), groups=2, dropout=0.5),
        codecs.FrameDecoder(8, width=16, depth=1, iterations=1),
    )


def test_a_codec_survives_json() -> None:
    codec = small_codec().eval()
    text = json.dumps(spec(codec))
    description = json.loads(text)
    before = copy.deepcopy(description)
    again = build(description)
    assert description == before
    assert json.dumps(spec(again)) == text
    again.load_state_dict(codec.state_dict())
    x = torch.randn(1, 1, 3 * codec.stride[0])
    assert torch.equal(again.eval()(x).x, codec(x).x)


WHOLE = {  # made of other parts
    *(
        "audio-tokenizer",
        "segmented-audio-tokenizer",
        "codec",
        "image-tokenizer",
        "nested",
        "ordered",
        "re-bottleneck",
        "video-tokenizer",
    ),
    *("stacked-encoder", "stacked-decoder", "stage-encoder", "feature-decoder", "feature-encoder"),
    *("image-classifier", "key-value-classifier", "narrowed-classifier"),
}
PARTS = [
    "adaptive-vocos-decoder",
    "ard",
    "attention-projection",
    "audio-tokenizer",
    "bigcodec-decoder",
    "bigcodec-encoder",
    "bsq",
    "channel-fsq",
    "classifier-decoder",
    "classifier-encoder",
    "codec",
    "conv-classifier",
    "conv-decoder",
    "conv-encoder",
    "dac-decoder",
    "dac-encoder",
    "direction-codebook",
    "dithered-fsq",
    "ema-codebook",
    "encodec-decoder",
    "encodec-encoder",
    "factorised-decoder",
    "factorised-encoder",
    "factorized-prior",
    "feature-decoder",
    "feature-encoder",
    "frame-decoder",
    "frame-encoder",
    "fsq",
    "gaussian",
    "glm-voice-encoder",
    "grouped",
    "grouped-residual-vq",
    "hubert",
    "ibq",
    "identity",
    "image-classifier",
    "image-tokenizer",
    "key-codebooks",
    "key-value-classifier",
    "lapped-decoder",
    "lapped-encoder",
    "latent-decoder",
    "latent-encoder",
    "ldm-decoder",
    "ldm-encoder",
    "learned-codebook",
    "lfq",
    "linear-synthesis",
    "log-mel-encoder",
    "mean-scale-hyperprior",
    "mimi-decoder",
    "mimi-encoder",
    "multi-codebook",
    "multi-rate-vq",
    "nanocodec-decoder",
    "nanocodec-encoder",
    "narrowed-classifier",
    "nested",
    "no-decoder",
    "no-encoder",
    "oobleck-decoder",
    "oobleck-encoder",
    "ordered",
    "plain-fsq",
    "projection",
    "random-projection",
    "re-bottleneck",
    "residual",
    "residual-fsq",
    "residual-vq",
    "rotation-trick",
    "rounding",
    "s3-encoder",
    "s3-memory-encoder",
    "scale-hyperprior",
    "segmented-audio-tokenizer",
    "shallow-decoder",
    "sim-codebook",
    "snac-decoder",
    "snac-encoder",
    "soft-norm",
    "space-channel-context",
    "space-time-context",
    "split-gaussian",
    "split-residual-vq",
    "stacked-decoder",
    "stacked-encoder",
    "stage-encoder",
    "straight-through",
    "strided",
    "tanh",
    "timm-backbone",
    "timm-classifier",
    "twice-bounded-fsq",
    "vector-quantize-pytorch",
    "video-tokenizer",
    "vit-decoder",
    "vit-encoder",
    "vocos-decoder",
    "vq",
    "w2v-bert",
    "wavelet-decoder",
    "wavelet-encoder",
    "wavlm",
    "wavtokenizer-decoder",
    "xcodec-decoder",
    "xcodec-encoder",
    "xcodec2-decoder",
    "xcodec2-encoder",
]


@pytest.mark.parametrize("name", sorted(set(PARTS) - WHOLE))
def test_every_part_is_built_from_its_defaults(name: str) -> None:
    assert name in names()
    instance = build({"part": name})
    assert spec(build(spec(instance))) == spec(instance)


def test_the_list_of_parts_is_known() -> None:
    assert names() == PARTS


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"part": "fsk"}, r"expected a registered part, got 'fsk' \(did you mean 'fsq'\?\); import the module"),
        ({"part": "fsq", "grups": 3}, r"fsq has no argument 'grups' \(did you mean 'groups'\?\); it has"),
        ({"part": "codec", "encoder": {"part": "frame-encoder"}}, "codec needs the argument 'bottleneck'"),
        ({"part": "fsq", "groups": 0}, "fsq cannot be built"),
        ({"part": "fsq", "levels": "abc"}, "fsq cannot be built"),
        ({"part": "codec", "encoder": 1, "bottleneck": 2, "decoder": 3}, "codec cannot be built"),
        ({"part": "os.system"}, "expected a registered part"),
        ({"name": "fsq"}, "expected a part as"),
        ([], "expected a part as"),
    ],
)
def test_a_wrong_description_is_named(description: object, message: str) -> None:
    with pytest.raises(PartError, match=message) as caught:
        build(description)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(PartError, match="expected an unused part name, got 'fsq'"):
        part("fsq")(type("Other", (), {}))


def test_open_argument_lists_are_refused() -> None:
    class Loose:
        def __init__(self, **options: int) -> None: ...

    with pytest.raises(PartError, match="expected named arguments in"):
        part("loose")(Loose)
    assert "loose" not in names()


def test_only_parts_have_a_spec() -> None:
    with pytest.raises(PartError, match="expected a registered part, got Linear"):
        spec(torch.nn.Linear(1, 1))


def test_a_class_that_is_defined_again_takes_the_place_of_the_earlier_one(monkeypatch) -> None:
    monkeypatch.setattr(parts, "_PARTS", dict(parts._PARTS))
    made = []
    for _ in range(2):

        @part("defined-again")
        class Again:
            def __init__(self, value: int = 1) -> None:
                pass

        made.append(Again)
    assert type(build({"part": "defined-again"})) is made[1]
    assert spec(made[1](3)) == {"part": "defined-again", "value": 3}
    with pytest.raises(PartError, match=r"expected an unused part name, got 'defined-again' of .*test_parts\..*Again"):
        part("defined-again")(codecs.FSQ)
    for name in ("Bad Name!", "", "-a", "a" * 61, "a\n"):
        with pytest.raises(PartError, match="expected a name of letters, digits"):
            part(name)(made[0])
