"""The scaling experiment; scripts/scaling.py is the way in."""
