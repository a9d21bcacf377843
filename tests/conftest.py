import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """tiny_checkpoint(name, seed) -> folder of a checkpoint for 16 kHz with small random weights, 3 codebooks of 16."""
    import torch

    from narrows.checkpoints import folder
    from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
    from narrows.codecs.bottlenecks.fsq import FSQ
    from narrows.codecs.codec import Codec
    from narrows.tokenizers.audio import AudioTokenizer

    def made(name="tiny", seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder, decoder = FrameEncoder(8, width=16, depth=1), FrameDecoder(8, width=16, depth=1)
            codec = Codec(encoder, FSQ(8, (4, 4), groups=3, dropout=0.2), decoder)
            tokenizer = AudioTokenizer(codec, 16_000)
            tables = tokenizer.tables_for(tokenizer.encode(0.1 * torch.randn(80_000), 16_000).codes)
        path = tmp_path_factory.mktemp("models") / name
        folder.save(path, codec, name, 16_000, tables)
        return path

    return made
