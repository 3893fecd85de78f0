"""The painters of the style pictures: one module per style, and the brushes they share."""
