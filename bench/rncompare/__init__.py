"""Side-by-side timing of rnncore and its peers; the entry point is bench/compare.py."""
