"""Public checkpoints of other libraries, loaded as tokenizers of this one.

    a file or folder ── source.py ──▶ Source: config and tensors ── a family ──▶ Tokenizer

    family.py    Family: what a family file implements
    releases.py  Release: a published checkpoint, as releases.json lists it
    archive.py   files within an archive
    source.py    reads the files of a checkpoint; nothing but tensors and plain values is unpickled
    keys.py      names of tensors of other libraries, renamed
    read.py      finds the family of a source, and loads it

Families, of which nothing else knows: adding one takes a module here, its name in FAMILIES, its entries in
releases.json, and at most one module of networks in narrows/codecs.

    bigcodec     BigCodec, speech
    dac          Descript Audio Codec
    encodec      EnCodec, and that of MusicGen
    glm_voice    the speech tokenizer of GLM-4-Voice, encode only
    mimi         Mimi, the codec of Moshi
    nanocodec    NanoCodec of NVIDIA's NeMo
    oobleck      Oobleck, the autoencoder of Stable Audio
    s3           the speech tokenizers of CosyVoice, encode only
    snac         SNAC, codebooks at several rates
    vocos        Vocos for mel spectra, and for the codes of EnCodec, decode only
    wavtokenizer WavTokenizer, one codebook
    xcodec       X-Codec, and the tokenizer of Higgs Audio v2
    xcodec2      X-Codec 2 and NeuCodec, speech
"""

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".th", ".bin")  # of files of torch.save
ARCHIVE = ".nemo"
SUFFIXES = (".safetensors", *TORCH_SUFFIXES, ARCHIVE)  # of all files of weights
FAMILIES = (
    "dac",
    "encodec",
    "mimi",
    "vocos",
    "wavtokenizer",
    "bigcodec",
    "xcodec2",
    "s3",
    "glm_voice",
    "snac",
    "oobleck",
    "xcodec",
    "nanocodec",
)  # modules, each with a `FAMILY`; asked in this order
