"""Bottlenecks: latents (B, D, *grid) ⇄ codes (B, K, *grid).

vq, ibq, multi_codebook        one codebook, index backpropagation, a sub-codebook per group of channels
residual, grouped, split       stages that quantize what is left, groups of channels, semantic and acoustic codebooks
multi_rate, nested, ordered    codebooks at several rates, one bottleneck inside another, a sum by importance
key_codebooks                  codebooks of keys for random projections, of a discrete key-value bottleneck
rebottleneck                   a bottleneck with networks of its own, for the latents of a finished codec
fsq, channel_fsq, lookup_free  scalars rounded to levels or signs; channel_fsq: the channels themselves
continuous, gaussian, ard      continuous latents; split_gaussian: means and deviations as they are
identity                       the latents of the encoder as they are
vector_quantize_pytorch        any quantizer of the package vector-quantize-pytorch
entropy                        entropy models
composition                    helpers of bottlenecks that consist of others
"""
