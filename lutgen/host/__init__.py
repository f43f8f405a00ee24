"""What runs on the host: the engine's compiler and its player; header, page and driver of its
register map.
"""
