"""What surrounds the stack: simulator, image, watching, releases and the pages about it. Refuses to be needed by it."""
