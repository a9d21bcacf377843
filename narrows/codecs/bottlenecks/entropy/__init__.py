"""Entropy models: bottlenecks that predict a frequency table for every symbol.

base            rounding, indices of tables, and the coding in steps
factorized      one density per channel
hyperprior      scales, or means and scales, from side information
space_channel   each group of latents is conditioned on the groups before it
space_time      for video: each latent frame is conditioned on the one before it, too
refinement      encoder-side search for better codes
"""
