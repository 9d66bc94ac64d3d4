"""containerd-shim-runjail-v1: containerd (shim v2, ttRPC) drives the engine from one warm process."""
