"""Models as folders: reading, writing, finding them."""
