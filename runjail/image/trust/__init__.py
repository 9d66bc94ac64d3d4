"""Which images are taken: containers' policy.json, and what images bring to meet it."""
