"""What tests share: real servers started for a test, and waiting for a condition with a bound."""
