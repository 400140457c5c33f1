"""What is made of the provider's replies, and what is sent to it, with no server there."""
