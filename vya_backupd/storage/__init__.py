"""Where backups lie: partial files, publishing, listing, deleting. What is inside a backup is not known here."""
