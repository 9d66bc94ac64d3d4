"""OCI crypt: encrypted layers and the keys that open them (containers/ocicrypt is the definition)."""
