"""The rules of the domain: as tables, and as what holds for any values."""
