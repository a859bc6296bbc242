"""The shell: a tree of pools, volumes, snapshots, targets and sessions, with commands on each node.

`scsi-snap shell` shows it by itself, `targetcli_ext` inside the stock targetcli. It holds no rules:
each command is one call of the API, and what that refuses is shown as it was said.

Adding a verb: one method `ui_command_VERB` on the node it belongs to (its docstring is the help,
its parameters are what the user types), and an entry in `offers` for names to complete.
"""
