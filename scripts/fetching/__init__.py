"""Where fetch_data.py finds data and weights, and how it reads them without trusting them."""
