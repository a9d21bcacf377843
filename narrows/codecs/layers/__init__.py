"""Blocks that several networks share.

alias_free          activations at twice the rate
causal              causal layers with a state, for streams
causal_transformer  attention within a window, with a state
causal_upsampling   transposed convolutions with a state
convnext            ConvNeXt blocks for sequences
density             a learned density per channel
dilated             residual units of dilated convolutions
exact               convolutions with the same bits on every machine
gdn                 generalized divisive normalization
istft               the head of Vocos: an inverse STFT
kaldi               filterbank features of speech models
local_attention     attention within windows that do not overlap
mel                 mel filters and spectra
multi_kernel        residual blocks of several kernels side by side
noise               noise that is a function of the latents
pieces              a long signal in overlapping pieces
qualities           parameters that depend on the quality
reflected           convolutions that are reflected at the ends of a signal of any length; an LSTM
resample            another sample rate, inside a network
resnet              residual and attention blocks of VQGAN on one axis
seanet              the order of the layers of EnCodec and Mimi
snake               periodic activations
vocos               the ConvNeXt block of Vocos, and norms that depend on a quality
wavelets            Haar wavelets
whisper             the front end and the blocks of Whisper
"""
