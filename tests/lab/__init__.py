"""The lab: scenarios in a real kernel, in a guest that QEMU emulates. `make lab` runs it."""
