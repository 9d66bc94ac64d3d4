"""What happens to a container: one module a verb, and the facts they share."""
