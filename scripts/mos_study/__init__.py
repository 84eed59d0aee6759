"""A study of mean opinion scores: prepared, served to raters, analysed; mos.py is the way in."""
