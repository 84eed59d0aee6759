"""Films through PyAV (FFmpeg): read, upscaled in segments, put together with all that they hold."""
