"""A SCSI target with copy-before-write snapshots. The floors are drawn in docs/architecture.md."""

__version__ = "0.1.0"
