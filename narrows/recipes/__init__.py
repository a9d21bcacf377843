"""Training runs as Python functions with typed defaults: `codec train RECIPE` runs one.

registry.py         name of a recipe → its function
speech.py, ...      one recipe a file
settings.py         the settings that recipes share: optimizer, schedule, data
training/           how a run is trained: a `Recipe` (what to train) and its Lightning module, one pair a file
data/  initialization/  losses/  discriminators/    what the runs are made of
"""
