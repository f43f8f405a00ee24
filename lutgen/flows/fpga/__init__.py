"""Synthesis, placement, bitstreams by open tools: plan, run, parsed report, cached by content."""
