"""One module per noun of the command line; each registers its commands on an app that it is handed."""
