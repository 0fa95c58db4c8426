"""What you test with, when what you test uses trio_bus."""
