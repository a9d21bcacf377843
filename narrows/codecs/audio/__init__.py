"""Encoders and decoders of audio.

dac      strided convolutions and dilated residual units with Snake
encodec  SEANet with an LSTM
frames   STFT frames: only the Fourier transforms run at the sample rate
mimi     causal SEANet with a transformer
oobleck  like dac, with SnakeBeta, for stereo and continuous latents
snac     like dac, with depthwise units, local attention and noise, for codebooks at several rates
"""
