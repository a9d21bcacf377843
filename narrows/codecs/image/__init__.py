"""Encoders and decoders of images, and classifiers with codes inside.

classifiers     classifiers in stages; timm_classifier: those of timm
classifier_features     from images to latents, and from latents to features of a classifier
convolutional   convolutions with GDN, of learned image compression
feature_autoencoder     from the features of a frozen network (timm_backbone) to latents and back, and to pixels
lapped          lapped transforms with a learned correction
ldm             the autoencoder of VQGAN and latent diffusion
narrowed        classifiers with codes inside
shallow         decoders of one or two layers
vit             vision transformers
"""
