"""What several bottlenecks share.

codebooks, kmeans, usage          codebooks and their training, k-means, the fraction in use
search, mixed_radix               nearest codes, several integers as one code
estimators, rounding, dropout     gradients, continuous latents on a grid, items with fewer codebooks
projection, attention_projection  linear projections and projections by attention
binary_entropy                    entropies of binary codes
package_quantizers                the quantizers of vector-quantize-pytorch
"""
