from math import prod
from pathlib import Path

import pytest
import torch
from torch import nn

import narrows
from narrows.checkpoints.families.releases import releases
from narrows.checkpoints.families.source import Source, fold_weight_norm, open_source
from narrows.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
STRIDES, DIM, WIDTH, DEPTH, ENTRIES = (4, 3, 2), 20, 64, 2, 50
HOP = 24


class Residual(nn.Module):
    """As in diffusers and taming-transformers, on one axis."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(32, width, 1e-6), nn.GroupNorm(32, width, 1e-6)
        self.conv1, self.conv2 = nn.Conv1d(width, width, 3, padding=1), nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x):
        h = self.norm1(x)
        h = self.conv1(h * torch.sigmoid(h))
        h = self.norm2(h)
        return x + self.conv2(h * torch.sigmoid(h))


class Attention(nn.Module):
    """Each position is a mean of all, weighted by the softmax of its similarities."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.GroupNorm(32, width, 1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv1d(width, width, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        weights = (torch.einsum("bcq,bck->bqk", self.q(h), self.k(h)) / x.shape[1] ** 0.5).softmax(2)
        return x + self.proj_out(torch.einsum("bqk,bck->bcq", weights, self.v(h)))


def reference(stub, strides, dim, filters, width, hidden, depth, entries):
    """The networks of WavTokenizer, of the packages `encodec` and `vocos` under the names of its files."""
    pytest.importorskip("encodec")
    pytest.importorskip("vocos")
    from encodec.modules import SEANetEncoder
    from encodec.quantization import ResidualVectorQuantizer
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone

    class Backbone(VocosBackbone):
        def forward(self, x, bandwidth_id):
            x = self.norm(self.pos_net(self.embed(x)).transpose(1, 2), bandwidth_id).transpose(1, 2)
            for block in self.convnext:
                x = block(x, bandwidth_id)
            return self.final_layer_norm(x.transpose(1, 2))

    hop = prod(strides)
    model = nn.Module()
    model.feature_extractor = nn.Module()
    model.feature_extractor.encodec = encodec = nn.Module()
    encodec.encoder = SEANetEncoder(dimension=dim, n_filters=filters, ratios=list(strides), norm="weight_norm")
    encodec.decoder = nn.Linear(3, 3)  # whatever is there is left out
    encodec.quantizer = ResidualVectorQuantizer(dimension=dim, n_q=1, bins=entries)
    model.backbone = Backbone(dim, width, hidden, depth, adanorm_num_embeddings=4)
    blocks = Residual(width), Residual(width), Attention(width), Residual(width), Residual(width)
    model.backbone.pos_net = nn.Sequential(*blocks, nn.GroupNorm(32, width, 1e-6))
    model.head = ISTFTHead(width, 4 * hop, hop, "same")
    return model


@pytest.fixture
def checkpoint(stub, randomise, tmp_path):
    """A file as Lightning writes it, and its model."""
    model = randomise(reference(stub, STRIDES, DIM, 4, WIDTH, 96, DEPTH, ENTRIES))
    book = model.feature_extractor.encodec.quantizer.vq.layers[0]._codebook
    with torch.no_grad():
        z = model.feature_extractor.encodec.encoder(0.3 * torch.randn(1, 1, HOP * ENTRIES))
    book.embed.copy_(z[0].T)  # so that codes differ
    book.embed_avg.copy_(3 * z[0].T)
    book.cluster_size.fill_(3.0)
    book.inited.fill_(1.0)
    path = tmp_path / "WavTokenizer_small_320_24k_4096.ckpt"
    others = {"multiperioddisc.x": torch.ones(2), "melspec_loss.mel_spec.window": torch.ones(3)}
    state = {
        "epoch": 3,
        "state_dict": model.state_dict() | others,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(1.0)}},
    }
    torch.save(state, path)
    return path, model


@torch.no_grad()
def test_files_of_the_authors(checkpoint):
    path, model = checkpoint
    tokenizer = narrows.load(path)
    assert (tokenizer.name, tokenizer.sample_rate) == ("wavtokenizer", 24_000)
    assert tokenizer.codec.stride == (HOP,)
    encodec = model.feature_extractor.encodec
    for samples in (HOP * 40, HOP * 7 + 5):
        x = 0.3 * torch.randn(2, 1, samples)
        z = encodec.encoder(x)
        assert (tokenizer.codec.analyze(x) - z).abs().max() <= 1e-5 * z.abs().max()
        codes = encodec.quantizer.vq.encode(z)
        assert len(codes.unique()) > 4
        assert torch.equal(tokenizer.codec.encode(x), codes.transpose(0, 1))
        features = encodec.quantizer.vq.decode(codes)
        expected = model.head(model.backbone(features, torch.tensor([0])))
        decoded = tokenizer.codec.decode(codes.transpose(0, 1))[:, 0]
        assert (decoded - expected).abs().max() <= 1e-5 * expected.abs().max()
        tokens = tokenizer.encode(x[0], 24_000)
        assert torch.equal(tokens.codes[0], codes[:, 0])
        assert tokenizer.decode(tokens).shape == (1, samples)


def test_batches_equal_singles(checkpoint):
    tokenizer = narrows.load(checkpoint[0])
    assert tokenizer.codec.encoder.reach == tokenizer.codec.decoder.reach == (None,)
    signals = [0.3 * torch.randn(1, samples) for samples in (1000, 477, 24, 5)]
    single = [tokenizer.encode(x, 24_000) for x in signals]
    tokenizer.batch = 4
    for one, other in zip(single, tokenizer.encode_batch(signals, 24_000), strict=True):
        assert torch.equal(one.codes, other.codes)


@pytest.mark.parametrize(
    "release", [each for each in releases() if each.family == "wavtokenizer"], ids=lambda r: r.name
)
def test_full_size(stub, check_full_size, release):
    strides = (8, 5, 4, 2) if release.name.endswith("75hz") else (6, 5, 5, 4)
    with torch.device("meta"):
        model = reference(stub, strides, 512, 32, 768, 2304, 12, 4096)
        state = {f"state_dict.{name}": tensor for name, tensor in model.state_dict().items()}
        path = Path(release.files[0])
        source = Source(path, {}, fold_weight_norm(state, path))
    check_full_size(release.name, source)
    assert sum(p.numel() for p in model.backbone.parameters()) == 61_961_472


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("backbone.embed.weight", None, "expected a tensor decoder.embed.weight of 3 axes"),
        ("head.out.bias", None, "expected the tensor decoder.head.out.bias"),
        ("head.out.weight", torch.zeros(7, WIDTH), "even n_fft"),
        ("feature_extractor.encodec.quantizer.vq.layers.1._codebook.embed", torch.ones(2), "expected only"),
        ("backbone.pos_net.2.q.weight", torch.ones(2, 2, 1), "of shape"),
    ],
)
def test_wrong_files_are_one_line(checkpoint, tmp_path, name, tensor, message):
    source = open_source(checkpoint[0])
    changed = source.tensors | {f"state_dict.{name}": tensor}
    tensors = {name: tensor for name, tensor in changed.items() if tensor is not None}
    torch.save(tensors, tmp_path / "other.ckpt")
    with pytest.raises(ModelError, match=message) as caught:
        narrows.load(tmp_path / "other.ckpt")
    assert "\n" not in str(caught.value)


def test_commands(check_commands, checkpoint):
    check_commands(checkpoint[0])
