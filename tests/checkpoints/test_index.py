from typing import Any

import pytest

import narrows
from narrows.checkpoints.index import ShippedModel
from narrows.errors import InputError, ModelError


def test_models_of_a_medium_and_a_rate() -> None:
    assert [model.name for model in narrows.models()] == ["audio", "image", "image-tokens", "speech", "video"]
    assert [model.name for model in narrows.models("audio")] == ["audio", "speech"]
    assert [model.name for model in narrows.models(medium="image")] == ["image", "image-tokens"]
    assert [model.name for model in narrows.models("video")] == ["video"]
    assert [model.name for model in narrows.models(max_kbps=0.6)] == ["speech"]
    assert [model.name for model in narrows.models("audio", max_kbps=0.3)] == []
    for wrong in (
        {"medium": "sound"},
        {"max_kbps": "2"},
        {"max_kbps": True},
        {"max_kbps": float("nan")},
        {"max_kbps": -1},
        {"medium": b"RIFF" * 999},
        {"medium": [1]},
        {"max_kbps": b"R" * 999},
        {"medium": "image", "max_kbps": 3},
    ):
        with pytest.raises(InputError, match="expected") as caught:
            narrows.models(**wrong)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", [b"RIFF" * 9999, "R" * 9999, "R/" + "R" * 9999, ["R"] * 9999])
def test_names_in_messages_are_short(name: Any) -> None:
    with pytest.raises(ModelError) as caught:
        narrows.load(name)
    assert len(str(caught.value)) < 600
    with pytest.raises(InputError, match="expected an available device"):
        narrows.load("speech", device=name)


def test_rates_are_those_of_the_evaluation() -> None:
    audio, image, tokens, speech, video = narrows.models()
    assert [round(rate, 1) for rate in audio.rates] == [5.2, 10.7, 17.8]
    assert [round(rate, 2) for rate in speech.rates][-3:] == [2.84, 3.14, 3.46]
    assert len(speech.rates) == 12
    assert [round(rate, 3) for rate in image.rates][:2] == [0.166, 0.261]
    assert [round(rate, 3) for rate in tokens.rates] == [0.051]
    assert [round(rate, 3) for rate in video.rates][:2] == [0.039, 0.061]


def test_they_show_themselves_as_a_table() -> None:
    lines = repr(narrows.models()).splitlines()
    assert lines[0].split() == ["name", "medium", "rate", "summary", "licence"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["audio", "audio"],
        ["image", "image"],
        ["image-tokens", "image"],
        ["speech", "audio"],
        ["video", "video"],
    ]
    assert "0.38 to 3.5 kbit/s" in lines[4]
    assert len(repr(narrows.models()[0])) < 250
    assert "<td>0.38 to 3.5 kbit/s</td>" in narrows.models()._repr_html_()


def test_names_are_escaped() -> None:
    model = ShippedModel("<b>", "audio", "<script>", "", "", {})
    assert "&lt;script&gt;" in type(narrows.models())([model])._repr_html_()


def test_the_image_model_says_what_it_is_for() -> None:
    image, tokens = narrows.models("image")
    assert "image-tokens" in image.summary
    assert "generative" in tokens.summary
