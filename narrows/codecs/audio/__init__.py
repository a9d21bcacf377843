"""Encoders and decoders of audio.

frames   STFT frames: only the Fourier transforms run at the sample rate
dac      strided convolutions and dilated residual units with Snake
"""
