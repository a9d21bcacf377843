"""Files of media in and out. Nothing else in the library touches them.

    audio.py    sound: probe, read, blocks, write
    image.py    pictures: probe, read, write
    atomic.py   how every file is written: beside its name, then renamed into place
    files.py    how every file is opened for reading

Axes: C channels, T samples; n samples of a block; H W pixels.
"""
