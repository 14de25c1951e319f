"""What this project measures itself by, never installed: entry points here, their parts in the folders."""
