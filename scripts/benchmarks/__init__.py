"""The comparisons that benchmark.py can run, one a file."""
