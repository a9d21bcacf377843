"""Encoders and decoders of audio.

bigcodec      strided convolutions and dilated residual units with alias-free SnakeBeta, and an LSTM
dac           strided convolutions and dilated residual units with Snake
encodec       SEANet with an LSTM
frames        STFT frames: only the Fourier transforms run at the sample rate
glm_voice     half of Whisper's encoder, causal by blocks
hubert        a frozen HuBERT or WavLM, for semantic features
mimi          causal SEANet with a transformer
nanocodec     blocks of several kernels; the decoder is causal
oobleck       like dac, with SnakeBeta, for stereo and continuous latents
s3            Whisper's encoder as a tokenizer of speech
snac          like dac, with depthwise units, local attention and noise, for codebooks at several rates
vocos         log-mel spectra, and a decoder on STFT frames
w2v_bert      a frozen w2v-BERT, for semantic features
wavtokenizer  Vocos with attention
xcodec        HuBERT and DAC's encoder; DAC's decoder
xcodec2       w2v-BERT and BigCodec's convolutions; a transformer on STFT frames
"""
