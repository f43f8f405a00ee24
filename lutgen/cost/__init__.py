"""What a core costs, in closed form, and the folds that make it cost least."""
