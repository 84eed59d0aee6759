"""Parts of jobs/upscale.py."""
