"""OpenSSL's libcrypto by ctypes(3), for machines without Python's cryptography.

Names, arguments and exceptions are those of cryptography, as far as encrypted images use it, so that its callers do not
ask which of the two they have (primitives.py). Tests compare the two. What is called is in OpenSSL 3.0 and later, which
FreeBSD has in its base system since 14.
"""
