"""Runs as people look at them: collected, charted, on a page or in a terminal."""
