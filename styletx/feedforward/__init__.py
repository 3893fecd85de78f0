"""The second method, one pass: a network trained for one style repaints a picture in a single pass."""
