"""What repeats the paper's tables and figures: its values, and how each of ours is made."""
