"""Reading images and turning them into a network's input."""
