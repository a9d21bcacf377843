import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--network.bottleneck", "fsk"], "network.bottleneck"),
        (["--semantic.teacher", "vit_bse_patch16_224"], "did you mean 'vit_base_patch16_224'"),
        (["--data.train", "nowhere"], "no pictures below nowhere"),
    ],
)
def test_settings_of_an_image_tokenizer_that_cannot_be_are_refused_in_one_line(refused, arguments, said):
    assert said in refused("train", "image-tokenizer", *arguments)
