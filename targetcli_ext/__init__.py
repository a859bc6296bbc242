"""The stock targetcli with our nodes in its tree: /scsi_snap, and /backstores/user:scsi-snap.

targetcli has no plug-ins, so its own program is loaded and started with three of its classes
extended. It goes on as ever without a scsi_snap daemon: /scsi_snap is then empty and says so.
"""
