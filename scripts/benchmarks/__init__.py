"""What benchmark.py and scaling.py measure.

A file for each comparison (bench_*.py); what they compare with (baselines), and what they time
alone (probes).
"""
