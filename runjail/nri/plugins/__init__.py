"""Two plugins that come with runjail, each a program of its own: what a plugin of yours could look like."""
