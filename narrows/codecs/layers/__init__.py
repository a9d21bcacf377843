"""Blocks that several networks share.

causal      causal layers with a state, for streams
convnext    ConvNeXt blocks for sequences
dilated     residual units of dilated convolutions
density     a learned density per channel
exact       convolutions with the same bits on every machine
gdn         generalized divisive normalization
qualities   parameters that depend on the quality
snake       periodic activations
wavelets    Haar wavelets
"""
