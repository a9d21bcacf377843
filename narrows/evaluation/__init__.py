"""Rate and distortion with real bytes: operating points, metrics, curves and reports."""
