import pytest

pytest.importorskip("lightning", reason="needs the extra train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network.bottleneck", "fsk"], "network.bottleneck"),
        (["--contrastive.teacher", "vit_bse_patch16_224"], "did you mean 'vit_base_patch16_224'"),
        (["--data.train", "nowhere"], "expected images in nowhere, got none"),
        (["--devices", "0"], "device"),
        (["--seed", "-1"], "expected seed from 0 to 4.29497e+09, got -1"),
    ],
)
def test_wrong_settings_are_reported_in_one_line(refused, arguments, message):
    assert message in refused("train", "image-tokenizer", *arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "expected one of the recipes speech, image, image-tokenizer, got 'nonsense'"),
        ("sqeech", "got 'sqeech'; did you mean 'speech'?"),
    ],
)
def test_unknown_recipe_is_reported_with_all_names_and_the_nearest(refused, name, message):
    assert message in refused("train", name)
