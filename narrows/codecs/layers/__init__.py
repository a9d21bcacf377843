"""Blocks that several networks share.

convnext    ConvNeXt blocks for sequences
density     a learned density per channel
exact       convolutions with the same bits on every machine
gdn         generalized divisive normalization
qualities   parameters that depend on the quality
"""
