"""The second engine: a network trained for one style repaints a picture in a single pass."""
