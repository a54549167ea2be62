"""Azure: sign-in, places, prices, jobs, files, logs, apps, teardown. Only below here are the Azure clients known."""
