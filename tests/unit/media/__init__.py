"""What is made of files that were fetched: real films and pictures, which `films` makes."""
