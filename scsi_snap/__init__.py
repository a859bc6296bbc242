"""scsi_snap: a SCSI target with copy-before-write snapshots."""
