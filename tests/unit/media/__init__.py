"""What is made of files that were fetched: real films and pictures, which `tests.support.films` makes."""
