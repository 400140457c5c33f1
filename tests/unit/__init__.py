"""Tests of one room each, without sockets: rules as tables, and what any input may come to."""
