"""What is in the way of the kernel's target, in one sentence that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scsi_snap.lio.availability import KERNEL_MODULES, Host


class Machine:
    """`modules`: those that modprobe finds."""

    def __init__(self, root: Path, modules: tuple[str, ...] = KERNEL_MODULES) -> None:
        self.root = root
        self.modules = modules
        self.broken: set[str] = set()
        self.ran: list[list[str]] = []
        self.is_root = True
        self.packages = {"rtslib_fb", "pyroute2"}
        (root / "sys/kernel/config").mkdir(parents=True)

    def load(self, module: str) -> None:
        (self.root / "sys/module" / module).mkdir(parents=True)

    def _run(self, command: list[str]) -> bool:
        self.ran.append(command)
        if command[:2] == ["modprobe", "--dry-run"]:
            return command[-1] in self.modules
        if command[0] == "modprobe":
            assert (self.root / "etc/target/pr").is_dir(), "too late for LIO's directory"
            if command[1] in self.broken:
                return False
            self.load(command[1])
        return True

    def obstacle(self) -> str | None:
        host = Host(
            self.root / "sys",
            self.root / "etc",
            self._run,
            self.is_root,
            self.packages.__contains__,
        )
        return host.obstacle()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_is_in_the_way_once_modules_are_loaded(machine: Machine) -> None:
    assert machine.obstacle() is None
    assert machine.ran[3:6] == [["modprobe", name] for name in KERNEL_MODULES]
    assert (machine.root / "sys/kernel/config/target").is_dir()
    machine.ran.clear()
    assert machine.obstacle() is None and machine.ran == []


@pytest.mark.parametrize("missing", KERNEL_MODULES)
def test_a_module_that_the_kernel_does_not_have_is_named(machine: Machine, missing: str) -> None:
    machine.modules = tuple(name for name in KERNEL_MODULES if name != missing)
    assert missing in (machine.obstacle() or "")
    assert not (machine.root / "etc").exists(), "nothing is left behind"


def test_a_module_that_cannot_be_loaded_is_named(machine: Machine) -> None:
    machine.broken = {"iscsi_target_mod"}
    assert "iscsi_target_mod" in (machine.obstacle() or "")


def test_who_is_not_root_is_told_so_and_loads_nothing(machine: Machine) -> None:
    machine.is_root = False
    found = machine.obstacle() or ""
    assert "root" in found and KERNEL_MODULES[0] in found and machine.ran == []
    for name in KERNEL_MODULES:
        machine.load(name)
    found = machine.obstacle() or ""
    assert "root" in found and "module" not in found


@pytest.mark.parametrize("package", ["rtslib_fb", "pyroute2"])
def test_a_python_package_that_is_missing_is_named(machine: Machine, package: str) -> None:
    machine.packages.remove(package)
    found = machine.obstacle() or ""
    assert package in found and "scsi-snap[lio]" in found


def test_this_machine_has_an_answer() -> None:
    assert Host(is_root=False).obstacle()
