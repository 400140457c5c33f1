"""The simulator from within: its rules, its films, its bill, and the life of a task, on a clock of the test's own."""
