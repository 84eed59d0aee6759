"""Upscaling folders of images and videos, cut into pieces that any number of processes may do.

inputs.py finds the files and where their results go, manifest.py knows which of these are there,
pieces.py says into what an image or a video is cut, worker.py does a piece or puts pieces
together; images.py with image_files/ and films/ know the file formats, tiles.py the network. None
of them knows who hands out the work.
"""
