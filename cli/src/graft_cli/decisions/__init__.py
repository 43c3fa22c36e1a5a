"""What is shown, and what is patched: pure functions of the objects, of files and of the time."""
