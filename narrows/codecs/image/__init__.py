"""Encoders and decoders of images.

convolutional   convolutions with GDN, of learned image compression
lapped          lapped transforms with a learned correction
ldm             the autoencoder of VQGAN and latent diffusion
shallow         decoders of one or two layers
vit             vision transformers
"""
