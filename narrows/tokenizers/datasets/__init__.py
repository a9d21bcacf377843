"""Whole data sets: items from folders, manifests, tars and tables to shards of tokens, on one machine or many."""
