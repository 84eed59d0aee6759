"""Reading what runs have left: their files, the runs below a folder, and which of them are kept."""
