"""Networks of containers by CNI (Container Network Interface): lists, plugins, attachments."""
