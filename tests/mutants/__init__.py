"""The mutants: the product without one of its guards, and the test that fails then. Each guard shows that it is needed.

`make mutants` tries all of them. They stand in the modules `of_...`, by what is broken without the guard.
"""
