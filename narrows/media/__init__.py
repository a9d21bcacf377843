"""Reading and writing media files. No other package touches them.

    table.py    the media by name: their suffixes, readers, writers and units
    medium.py   what an entry of the table holds; the base class of signals
    extents.py  the size of a signal
    audio/      probe, read, blocks, write; from packets, edits and tags to samples in one channel order
    image/      probe, read, write; from every depth, layout and colour space to 8 bits of sRGB
    atomic.py   writes a file beside its name, then renames it into place
    files.py    opens a file for reading; one guard against exceptions of libraries
    binary.py   integers and boxes at offsets of a file
    folders.py  lists the files below a folder
    quiet.py    ignores warnings of libraries, with several threads

Axes: C channels, T samples; n samples of a block; H W pixels.
"""
