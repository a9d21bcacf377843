"""TIFF files of any depth and layout.

layout.py    how the samples are stored: tags, strips, tiles
codecs.py    strips and tiles to bytes
samples.py   bytes to samples
colours.py   samples to colours of 8 bits
"""
