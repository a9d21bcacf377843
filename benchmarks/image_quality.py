"""Bits on disk and PSNR of pictures, of narrows and of JPEG, WebP and AVIF, over a folder of pictures such as Kodak's.

    python benchmarks/image_quality.py --model image --data DIR

Prints one JSON object for each picture and quality of the model, for each operating point, and for each pair of codecs;
over 24 pictures, which are taken for Kodak's, also against published curves.
Needs scipy.
"""

import argparse
import csv
import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from bd_rate import bd_rate
from common import emit, fail, run, show
from image_points import CLASSICAL, Classical, Narrows, Pixels, Point, loaded

from narrows.media import image

QUALITIES = {  # of the codecs that are compared with: about the rates of the model's qualities, and beyond
    "jpeg": (3, 5, 8, 12, 18, 25, 35, 50, 65, 78, 88, 94),
    "webp": (0, 5, 12, 20, 35, 50, 65, 78, 86, 92, 96),
    "avif": (12, 20, 30, 40, 50, 60, 70, 80, 88, 94),
}
PUBLISHED = {  # bits a pixel and dB over Kodak's 24 pictures: results in CompressAI's repository, headers not counted
    "bmshj2018-factorized": (
        (0.123, 26.91),
        (0.189, 28.22),
        (0.288, 29.62),
        (0.440, 31.28),
        (0.648, 32.96),
        (0.967, 35.38),
    ),
    "mbt2018-mean": ((0.124, 27.70), (0.198, 29.36), (0.307, 31.13), (0.461, 32.95), (0.662, 34.97), (0.914, 36.91)),
