"""What a container needs from its host, as data: a Spec goes in, a Plan comes out, nothing is touched."""
