# fish reads this when somebody completes a command line of runjail for the first time.
runjail completion fish | source
