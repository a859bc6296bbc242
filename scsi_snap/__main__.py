"""`python -m scsi_snap`: the command line."""

from scsi_snap.cli.main import main

if __name__ == "__main__":
    main()
