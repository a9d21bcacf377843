"""One tokenized item back to a file of sound or a picture."""

from narrows.bitstream import AudioExtent, ImageExtent
from narrows.datasets.reader import Item, Latents
from narrows.media import audio, image
from narrows.media.files import StrPath
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.image import ImageTokenizer
from narrows.tokenizers.tiles import TOP


def write_media(
    path: StrPath, item: Item, tokenizer: AudioTokenizer | ImageTokenizer, *, overwrite: bool = False
) -> None:
    """Decode an item and write it as the kind of file that the suffix names.

    Raises WrongModel for another tokenizer than that of the item, InputError for what it cannot decode, MediaError
    where the file cannot be written.
    """
    tokenizer.check_model(item.model, item.fingerprint)
    if isinstance(tokenizer, AudioTokenizer):
        assert isinstance(item.extent, AudioExtent)
        rate = item.extent.sample_rate
        if isinstance(item, Latents):
            blocks = tokenizer.widen_blocks(item.values.float(), item.extent.samples, rate)
        else:
            blocks = tokenizer.decode_blocks(item)
        audio.write(path, blocks, rate, overwrite=overwrite)
        return
    image.kind(path)  # first: what cannot be written is told before a picture is decoded
    if isinstance(item, Latents):
        assert isinstance(item.extent, ImageExtent)
        x = tokenizer.widen(item.values[0].float(), item.extent.height, item.extent.width)
        x = x.mean(0, keepdim=True) if item.extent.channels == 1 else x
        pixels = ((x + 1) * TOP).round().byte().numpy()
    else:
        pixels = tokenizer.pixels(item)
    image.write(path, pixels.transpose(1, 2, 0), overwrite=overwrite)
