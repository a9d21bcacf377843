"""Weights that a training starts with, computed from its data.

initialize_pca      a frame codec with FSQ as a PCA of log spectra
initialize_lapped   an image codec as a lapped transform codec
"""

from narrows.recipes.initialization.lapped import initialize_lapped
from narrows.recipes.initialization.pca import initialize_pca

__all__ = ["initialize_lapped", "initialize_pca"]
