"""The `tcplab` command. Each command's module imports what it needs when it runs, so that `--help` is quick."""
