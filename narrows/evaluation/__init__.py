"""Rate and distortion with real files: operating points, metrics, rate-quality curves and reports."""
