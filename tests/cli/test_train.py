import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network.bottleneck", "fsk"], "network.bottleneck"),
        (["--contrastive.teacher", "vit_bse_patch16_224"], "did you mean 'vit_base_patch16_224'"),
        (["--data.train", "nowhere"], "expected images in nowhere, got none"),
    ],
)
def test_wrong_settings_are_reported_in_one_line(refused, arguments, message):
    assert message in refused("train", "image-tokenizer", *arguments)


def test_unknown_recipe_is_reported_with_the_nearest_name(refused):
    assert "got 'sqeech'; did you mean 'speech'?" in refused("train", "sqeech")
