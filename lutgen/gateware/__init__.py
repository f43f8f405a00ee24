"""Amaranth components: one file a family of blocks, named as the specs that they take."""
