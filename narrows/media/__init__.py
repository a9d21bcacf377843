"""Reading and writing media files. No other package touches them.

    table.py    the media by name: their suffixes, readers, writers and units
    medium.py   what an entry of the table holds; the base class of signals
    extents.py  the size of a signal
    audio.py    audio files: probe, read, blocks, write
    image.py    image files: probe, read, write
    image_*.py  their parts: the image in memory, the reader, depths, colours, and whether all data are there
    tiff/       TIFF files of any depth and layout
    atomic.py   writes a file beside its name, then renames it into place
    files.py    opens a file for reading
    folders.py  lists the files below a folder

Axes: C channels, T samples; n samples of a block; H W pixels.
"""
