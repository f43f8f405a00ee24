"""What a processor needs to drive an engine: header, page and driver of its register map."""
