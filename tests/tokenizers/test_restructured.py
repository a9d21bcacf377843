import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import narrows
from narrows.codecs import (
    FSQ,
    Codec,
    FactorisedDecoder,
    FactorisedEncoder,
    FactorizedPrior,
    FrameDecoder,
    FrameEncoder,
    Gaussian,
    LatentDecoder,
    LatentEncoder,
    ReBottleneck,
    Rounding,
)
from narrows.errors import InputError, ModelError
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.restructured import restructured
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.video import VideoTokenizer


def around(base: Tokenizer, bottleneck=None, quality_index: int | None = None) -> ReBottleneck:
    torch.manual_seed(3)
    bottleneck = FSQ(4, (8, 5), groups=3, dropout=0.5) if bottleneck is None else bottleneck
    dim, axes = base.codec.encoder.dim, len(base.codec.stride)
    encoder, decoder = (part(dim, bottleneck.dim, 8, 1, axes) for part in (LatentEncoder, LatentDecoder))
    for parameter in [*encoder.parameters(), *decoder.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2)
    return ReBottleneck(encoder, bottleneck, decoder, quality_index)


@pytest.fixture
def base(tiny_checkpoint) -> Tokenizer:
    return narrows.load(tiny_checkpoint())


@pytest.fixture
def saved(base: Tokenizer, tmp_path: Path) -> Path:
    tokenizer = restructured(base, around(base))
    tokenizer.name = "ordered"
    tokenizer.tables = tokenizer.fit_tables(tokenizer.encode(0.1 * torch.randn(80_000), 16_000).codes)
    narrows.save(tmp_path / "inner", tokenizer)
    return tmp_path / "inner"


def test_a_checkpoint_has_the_new_weights_alone_and_names_its_base(base: Tokenizer, saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    assert {name.split(".")[0] + "." + name.split(".")[1] for name in weights} == {
        *("encoder.inner", "decoder.inner", "bottleneck.project_in", "bottleneck.project_out")
    }
    assert json.loads((saved / "config.json").read_text())["base"]["fingerprint"] == base.fingerprint
    again = narrows.load(saved)
    assert isinstance(again, AudioTokenizer)
    assert again.base is not None
    assert (again.base.model, again.base.fingerprint) == (str(base.folder), base.fingerprint)
    x = 0.1 * torch.randn(30_000)
    tokens = again.encode(x, 16_000)
    assert narrows.load(saved).encode(x, 16_000) == tokens
    assert again.decompress(again.compress(tokens)) == tokens
    assert again.decode(tokens[:, :2]).shape == (1, 30_000)
    narrows.save(saved, again)  # in its own place
    assert narrows.load(saved).fingerprint == again.fingerprint


def test_both_folders_move_together(tiny_checkpoint, tmp_path: Path) -> None:
    base = narrows.load(tiny_checkpoint())
    narrows.save(tmp_path / "a" / "base", base)
    tokenizer = restructured(narrows.load(tmp_path / "a" / "base"), around(base))
    narrows.save(tmp_path / "a" / "inner", tokenizer)
    (tmp_path / "a").rename(tmp_path / "b")
    assert narrows.load(tmp_path / "b" / "inner").fingerprint == tokenizer.fingerprint


def test_the_base_is_found_through_a_symbolic_link(tiny_checkpoint, tmp_path: Path) -> None:
    base = narrows.load(tiny_checkpoint())
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    tokenizer = restructured(base, around(base))
    narrows.save(tmp_path / "link" / "inner", tokenizer)
    for folder in ("link", "far/away"):
        assert narrows.load(tmp_path / folder / "inner").fingerprint == tokenizer.fingerprint


def test_weights_that_the_base_does_not_have_are_stored(base: Tokenizer, saved: Path, tmp_path: Path) -> None:
    tokenizer = narrows.load(saved)
    next(tokenizer.codec.encoder.base.parameters()).data.mul_(1.5)  # type: ignore[union-attr]
    narrows.save(tmp_path / "changed", tokenizer)
    again = narrows.load(tmp_path / "changed")
    assert again.fingerprint == tokenizer.fingerprint
    assert again.base is None
    twice = restructured(base, around(base, around(restructured(base, around(base)))))
    narrows.save(tmp_path / "twice", twice)
    assert narrows.load(tmp_path / "twice").fingerprint == twice.fingerprint


def test_a_checkpoint_in_place_of_its_base_is_whole(tiny_checkpoint, tmp_path: Path) -> None:
    narrows.save(tmp_path / "base", narrows.load(tiny_checkpoint()))
    base = narrows.load(tmp_path / "base")
    inner = restructured(base, around(base))
    narrows.save(tmp_path / "inner", inner)
    middle = narrows.load(tmp_path / "inner")
    outer = restructured(middle, around(middle))
    narrows.save(tmp_path / "base", outer)  # where the base of its base is
    assert narrows.load(tmp_path / "base").fingerprint == outer.fingerprint


def test_a_base_needs_a_rebottleneck(tiny_checkpoint, tmp_path: Path) -> None:
    base = narrows.load(tiny_checkpoint())
    narrows.save(tmp_path / "plain", base)
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    config["base"] = {"model": str(base.folder), "fingerprint": base.fingerprint}
    (tmp_path / "plain" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="expected a codec around a Re-Bottleneck, as it has a base, got one without"):
        narrows.load(tmp_path / "plain")


def test_windows_equal_the_whole(base: Tokenizer) -> None:
    assert isinstance(base, AudioTokenizer)
    tokenizer, x = restructured(base, around(base)), 0.1 * torch.randn(16_000 * 6)
    tokenizer.window_seconds = 1.0
    pieces = tokenizer.encode(x, 16_000)
    tokenizer.window_seconds = 60.0
    whole = tokenizer.encode(x, 16_000)
    assert torch.equal(pieces.codes, whole.codes)
    decoded = tokenizer.decode(whole)
    tokenizer.window_seconds = 1.0
    torch.testing.assert_close(tokenizer.decode(whole), decoded, atol=1e-5, rtol=0)


def test_continuous_latents_work(base: Tokenizer) -> None:
    tokenizer = restructured(base, around(base, Gaussian(4, 4, Rounding())))
    latents = tokenizer.encode_latents(0.1 * torch.randn(9_000), 16_000)
    assert latents.values.shape[1] == 4
    assert tokenizer.decode_latents(latents).shape == (1, 9_000)


def test_images_around_an_entropy_model(image_checkpoint: Path, tmp_path: Path) -> None:
    base = narrows.load(image_checkpoint)
    with pytest.raises(InputError, match="expected a quality_index up to"):
        restructured(base, around(base))
    with pytest.raises(InputError, match="expected a quality_index up to"):
        restructured(base, around(base, quality_index=base.qualities))
    tokenizer = restructured(base, around(base, quality_index=base.qualities - 1))
    narrows.save(tmp_path / "inner", tokenizer)
    again = narrows.load(tmp_path / "inner")
    pixels = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8).numpy()
    tokens = again.encode(pixels)
    assert tuple(again.decode(tokens).shape) == (3, 50, 70)
    assert again.decompress(again.compress(tokens)) == tokens
    model = restructured(base, around(base, FactorizedPrior(4), base.qualities - 1))
    assert model.entropy_model is not None
    assert tuple(model.decode(model.encode(pixels)).shape) == (3, 50, 70)


def test_video_streams(tiny_video: Path) -> None:
    base = narrows.load(tiny_video)
    tokenizer = restructured(base, around(base))
    assert isinstance(tokenizer, VideoTokenizer)
    assert tokenizer.audio_models is not None  # for sound tracks
    clip = torch.randint(0, 256, (3, 9, 32, 48), dtype=torch.uint8).numpy()
    tokens = tokenizer.encode(clip, 25)
    tokenizer.block = 1
    assert torch.equal(tokenizer.encode(clip, 25).codes, tokens.codes)
    assert tuple(tokenizer.decode(tokens).shape) == (3, 9, 32, 48)


def test_one_around_another(base: Tokenizer, saved: Path, tmp_path: Path) -> None:
    middle = narrows.load(saved)
    narrows.save(tmp_path / "outer", restructured(middle, around(middle)))
    again = narrows.load(tmp_path / "outer")
    assert again.base is not None
    assert again.base.model == str(saved)
    x = 0.1 * torch.randn(9_000)
    assert again.decode(again.encode(x, 16_000)).shape == (1, 9_000)


def test_a_base_that_was_made_is_stored_whole(tmp_path: Path) -> None:
    codec = Codec(FrameEncoder(8, 16, 1), Gaussian(8, 4), FrameDecoder(8, 16, 1))
    made = AudioTokenizer(codec, 16_000)
    tokenizer = restructured(made, around(made))
    assert tokenizer.base is None
    narrows.save(tmp_path / "whole", tokenizer)
    assert narrows.load(tmp_path / "whole").fingerprint == tokenizer.fingerprint


def changed(saved: Path, **base: object) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["base"] |= base
    (saved / "config.json").write_text(json.dumps(config))


def test_wrong_bases_are_named(saved: Path, tiny_checkpoint, tmp_path: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    changed(saved, fingerprint="0" * 16)
    with pytest.raises(ModelError, match=r"with the fingerprint '0000000000000000', for which .* was trained, got"):
        narrows.load(saved)
    changed(saved, model="../nowhere")
    with pytest.raises(ModelError, match=r"expected a model name, folder or hub repository, got '.*nowhere'"):
        narrows.load(saved)
    for wrong in ({"model": 3}, {"model": ""}, {"fingerprint": None}):
        (saved / "config.json").write_text(json.dumps(config | {"base": config["base"] | wrong}))
        with pytest.raises(ModelError, match="expected a model and a fingerprint under 'base'"):
            narrows.load(saved)
    (saved / "config.json").write_text(json.dumps(config | {"base": "speech"}))
    with pytest.raises(ModelError, match="expected a model and a fingerprint under 'base'"):
        narrows.load(saved)
    other = narrows.load("speech")
    changed_config = config | {"base": {"model": "speech", "fingerprint": other.fingerprint}}
    (saved / "config.json").write_text(json.dumps(changed_config))
    with pytest.raises(ModelError, match=r"expected .* of shape .* in the base, got"):
        narrows.load(saved)


def test_a_base_of_itself_is_refused(saved: Path) -> None:
    changed(saved, model="../inner")
    with pytest.raises(ModelError, match="expected at most 8 bases below each other"):
        narrows.load(saved)


def test_saving_around_bases_in_a_circle_ends(base: Tokenizer, saved: Path, tmp_path: Path) -> None:
    tokenizer = narrows.load(saved)
    changed(saved, model="../inner")  # edited by hand
    assert tokenizer.base is not None
    tokenizer.base = replace(tokenizer.base, model=str(saved))
    narrows.save(tmp_path / "again", tokenizer)
    assert (tmp_path / "again" / "config.json").exists()


def test_weights_of_the_base_are_unexpected(saved: Path, base: Tokenizer) -> None:
    weights = load_file(saved / "model.safetensors")
    name, tensor = next(iter(base.codec.encoder.state_dict().items()))
    save_file(weights | {f"encoder.base.{name}": tensor}, saved / "model.safetensors")
    with pytest.raises(
        ModelError, match=f"expected only tensors of the codec in config.json, got 'encoder.base.{name}'"
    ):
        narrows.load(saved)
    del weights["encoder.inner.network.linear.weight"]
    save_file(weights, saved / "model.safetensors")
    with pytest.raises(ModelError, match=r"expected the tensor encoder\.inner\.network\.linear\.weight of shape"):
        narrows.load(saved)


def test_video_networks_fit_only_video() -> None:
    made = VideoTokenizer(
        Codec(FactorisedEncoder(8, (2, 4), (1, 2), 2), Gaussian(8, 4), FactorisedDecoder(8, (2, 4), (1, 2), 2))
    )
    inner = ReBottleneck(LatentEncoder(8, 4, 8, 1, 2), FSQ(4, (5, 5)), LatentDecoder(8, 4, 8, 1, 2))
    with pytest.raises(InputError, match="inner encoder of 8 channels and 3 axes, got 8 and 2"):
        restructured(made, inner)
