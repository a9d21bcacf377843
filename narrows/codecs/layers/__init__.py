"""Blocks that several networks share.

causal      causal layers with a state, for streams
convnext    ConvNeXt blocks for sequences
density     a learned density per channel
exact       convolutions with the same bits on every machine
gdn         generalized divisive normalization
qualities   parameters that depend on the quality
wavelets    Haar wavelets
"""
