"""Image files: what formats can hold, pixels and metadata in and out."""
