"""What to expect from many GPUs: counted all-reduces, link speeds, and the tables made of them."""
