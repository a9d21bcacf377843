"""Blocks that several networks share.

causal              causal layers with a state, for streams
causal_transformer  attention within a window, with a state
causal_upsampling   transposed convolutions with a state
convnext            ConvNeXt blocks for sequences
density             a learned density per channel
dilated             residual units of dilated convolutions
exact               convolutions with the same bits on every machine
gdn                 generalized divisive normalization
local_attention     attention within windows that do not overlap
noise               noise that is a function of the latents
pieces              a long signal in overlapping pieces
qualities           parameters that depend on the quality
reflected           convolutions that are reflected at the ends of a signal of any length; an LSTM
seanet              the order of the layers of EnCodec and Mimi
snake               periodic activations
wavelets            Haar wavelets
"""
