"""Encoders and decoders of video, causal in time. An image is a video of one frame.

factorised   3-D Haar patches and convolutions that are factorised into space and time
wavelet      wavelets with a path of low frequencies: the autoencoder of WF-VAE
"""
