"""The controller, the processes of labs and runs, and the services of the API: one file per service."""
