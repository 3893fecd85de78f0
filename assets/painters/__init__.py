"""The painters of the style pictures: one module a style, and the brushes that they share."""
