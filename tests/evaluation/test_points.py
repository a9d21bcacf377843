import pytest

from narrows.checkpoints import folder
from narrows.codecs import FSQ, Codec, ConvDecoder, ConvEncoder, FrameDecoder, FrameEncoder
from narrows.errors import InputError, ModelError, NarrowsError
from narrows.evaluation.points import operating_points
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.image import ImageTokenizer


@pytest.fixture(scope="module")
def audio_model(tiny_checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("links") / "with@sign"
    path.symlink_to(tiny_checkpoint("tiny"), target_is_directory=True)
    return str(path)


def names(*texts):
    return [point.name for point in operating_points(texts)]


def test_baselines_by_name():
    assert names("opus@6,8.5", "flac", "opus@6") == ["opus@6", "opus@8.5", "flac"]
    assert names("jpeg@10", "jpeg2000@34.5", "x265-intra@0") == ["jpeg@10", "jpeg2000@34.5", "x265-intra@0"]
    assert {point.medium for point in operating_points(["opus@12", "flac"])} == {"audio"}


def test_models_by_name():
    assert names("speech", "speech@1,4") == ["speech@12", "speech@1", "speech@4"]
    assert names("speech@all") == [f"speech@{k}" for k in range(1, 13)]
    assert names("image@2.5", "image") == ["image@2.5", "image@4"]
    assert names("image@all") == [f"image@{quality}" for quality in range(1, 9)]


def test_models_in_folders(audio_model, image_checkpoint):
    assert names(audio_model) == [f"{audio_model}@3"]  # though there is an @ in its name
    assert names(f"{audio_model}@1,2") == [f"{audio_model}@1", f"{audio_model}@2"]
    assert names(f"{image_checkpoint}@8") == [f"{image_checkpoint}@8"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["opsu@6"], r"no codec, model or folder 'opsu'; did you mean 'opus'\?"),
        (["spech"], r"did you mean 'speech'\?"),
        (["opus"], r"expected a setting for opus, 6 to 510 \(kbit/s\), got none; type for example opus@12"),
        (["opus@5"], r"expected 6 to 510 \(kbit/s\) for opus, got opus@5"),
        (["opus@nan"], "got opus@nan"),
        (["opus@all"], "expected settings of opus"),
        (["amr-nb@5"], r"expected 4\.75, 5\.15.* for amr-nb"),
        (["jpeg@0"], r"expected integers 1 to 100 \(quality\) for jpeg"),
        (["jpeg@9.5"], r"expected integers 1 to 100 \(quality\) for jpeg"),
        (["flac@3"], "lossless.*; type flac"),
        (["opus@"], "after the @"),
        (["opus@6,,8"], "after the @"),
        (["speech@13"], "expected codebooks of 1, 2, .* for speech, got 13"),
        (["speech@1.5"], r"for speech, got 1\.5"),
        (["image@9"], "expected a quality from 1 .* to 8 .*, got 9"),
        (["opus@12", "jpeg@10"], r"one medium, got opus@12 \(audio\) and jpeg@10 \(image\)"),
        ([], "at least one operating point, got none"),
    ],
)
def test_invalid_names_are_rejected_in_one_line(texts, message):
    with pytest.raises(InputError, match=message) as error:
        operating_points(texts)
    assert "\n" not in str(error.value)


def test_no_checkpoint(tmp_path):
    with pytest.raises(ModelError, match="expected a model name, folder or hub"):
        operating_points([f"{tmp_path}/gone@3"])


def test_model_with_one_setting(tmp_path):
    for name, tokenizer in (
        ("audio", AudioTokenizer(Codec(FrameEncoder(8, 16, 1), FSQ(8, (4, 4)), FrameDecoder(8, 16, 1)), 16_000)),
        ("image", ImageTokenizer(Codec(ConvEncoder(8, 8), FSQ(8, (4, 4)), ConvDecoder(8, 8)))),
    ):
        folder.save(tmp_path / name, tokenizer)
        for text in (str(tmp_path / name), f"{tmp_path / name}@all"):
            assert [(point.name, point.setting) for point in operating_points([text])] == [(str(tmp_path / name), None)]
        with pytest.raises(NarrowsError, match="it has only one"):
            operating_points([f"{tmp_path / name}@1"])
