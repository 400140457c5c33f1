"""The same job on other engines, as small durable tasks with kept connections. Run by an interpreter of their own."""
