"""What runs beside the product, with other programs stood in for."""
