"""Two plugins that come with runjail, each a program: what a plugin of yours could look like."""
