"""What to expect of many GPUs: counted all-reduces, link speeds, and the tables made of them."""
