"""Memory and speed of training and inference on a card that need not be there."""
