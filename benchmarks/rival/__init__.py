"""An 8-bit multiply-accumulate core for perceptrons: what lookup cores are measured against."""
