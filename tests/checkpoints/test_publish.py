import json
from pathlib import Path

import pytest
import torch

from narrows.checkpoints import folder
from narrows.checkpoints.publish import publish
from narrows.codecs import FSQ, Codec, FrameDecoder, FrameEncoder
from narrows.errors import ModelError
from narrows.tokenizers.audio import AudioTokenizer


def test_a_complete_checkpoint_is_copied_and_listed(tmp_path: Path) -> None:
    codec = Codec(FrameEncoder(8, 16, 1), FSQ(8, (5, 5), 3), FrameDecoder(8, 16, 1, iterations=1))
    tokenizer = AudioTokenizer(codec, 16_000)
    tokenizer.name, tokenizer.tables = "my-small", tokenizer.fit_tables(torch.randint(25, (1, 3, 50)))
    folder.save(tmp_path / "made", tokenizer, torch.float16)
    with pytest.raises(ModelError, match=r"got no README\.md"):
        publish(tmp_path / "made", "small", "a model", "Apache-2.0", {}, tmp_path / "home")
    (tmp_path / "made" / "README.md").write_text("# small\n")
    (tmp_path / "made" / "evaluation.json").write_text("{}\n")
    for summary in ("a model", "a better model"):
        publish(tmp_path / "made", "small", summary, "Apache-2.0", {"parameters": 1}, tmp_path / "home")
    index = json.loads((tmp_path / "home" / "index.json").read_text())
    assert index["small"]["summary"] == "a better model"
    assert index["small"]["fingerprint"] == folder.read(tmp_path / "home" / "small").fingerprint
    assert folder.read(tmp_path / "home" / "small").name == "small"
