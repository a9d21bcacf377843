"""How a run is trained. `narrows.recipes` has the public names.

base.py                 Recipe and Training, the base classes
adversarial.py          weighted losses and discriminators, which audio.py and image_tokenizer.py share
audio.py                AudioRecipe: audio codecs
image_tokenizer.py      ImageTokenizerRecipe: image tokenizers with one rate
feature_autoencoder.py  FeatureAutoencoderRecipe: feature auto-encoders on a frozen vision encoder
rate_distortion.py      RateDistortionRecipe: image codecs with an entropy model
video_tokenizer.py  video_rate_distortion.py    the same two of video; clips.py: batches of clips
classifier.py           what recipes of classifiers share: labelled data, streams of a validation
narrowed_classifier.py  NarrowedClassifierRecipe: a bottleneck inside a classifier, by distillation
key_value.py            KeyValueRecipe: keys, and values class by class
rebottleneck.py         ReBottleneckRecipe: another latent space for a finished codec
optimizer.py            AdamW with learning rates and weight decay by parameter
fit_tables.py           frequency tables, counted on training data
fit_predicted.py        networks that predict frequencies, trained on the codes of training data
run.py                  `run`
launch.py               devices, nodes, precision
clock.py                a limit of time
loop.py                 metrics, validation, the saved state
run_folder.py           the files of a run, its lock
samples.py  report.py   validation items as files; the page of a run
record.py               recipe.json: the settings of a run, and how others differ from them
stopping.py             Ctrl-C and SIGTERM
progress.py  loggers.py     what is shown during a run
fit_model.py           frequency tables for a finished model
speech_metrics.py       PESQ and ESTOI of validation recordings
"""
