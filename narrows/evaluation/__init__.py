"""Rate and distortion with real files: operating points, metrics, rate-quality curves and reports.

evaluate                     codecs by name on folders of files: what `codec evaluate` does
base                         OperatingPoint, Metric, SetMetric: what own codecs and metrics are made of
points, models, baselines    operating points by name, of models, of classical codecs; bit_flips: with bit errors
metrics                      the metrics by name, and `register` for own ones
run, measurement, speed      the measurements, in processes, with a cache
by_medium, items, alignment  what depends on the medium, the files, aligned signals
references, excerpts         the originals; the beginnings of decoded clips that a report shows
results, result_files        results and their summaries, as files
curves, comparison           rate-quality curves and Bjøntegaard deltas, two runs compared
piecewise, statistics        interpolation, confidence intervals
bands, spectra               distortion over frequency, spectra
report                       the report as HTML, plots and tables
"""
