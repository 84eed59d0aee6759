"""What scripts/nightly.py does: its configuration, the jobs of a night, regressions, clean-up."""
